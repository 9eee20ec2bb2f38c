import ctypes
import enum
import os
from typing import List, NamedTuple, Optional

from ._library import lib


class BidState(enum.IntEnum):
    """The state of the owner of a bid. UNKNOWN and MALFORMED count as live."""

    OWN = 0
    LIVE = 1
    STALE = 2
    UNKNOWN = 3
    MALFORMED = 4


class Bid(NamedTuple):
    """One bid of a snapshot. A value is None where the bid does not have it. Any user of the folder may have written
    any characters into `host` and `command`: escape them before you print them (`repr` does so)."""

    name: str  #: file name in the lock folder
    host: Optional[str]
    command: Optional[str]
    pid: Optional[int]
    created: Optional[int]  #: when the owner's process started, Unix seconds
    age: float  #: seconds since the bid was posted
    state: BidState


def read(bid_list: ctypes.c_void_p) -> List[Bid]:
    bids = []
    for index in range(lib.lf_bid_list_len(bid_list)):
        bid = lib.lf_bid_list_get(bid_list, index).contents
        bids.append(
            Bid(
                name=os.fsdecode(bid.name),
                host=_text(bid.host),
                command=_text(bid.command),
                pid=bid.pid or None,
                created=None if bid.created < 0 else bid.created,
                age=bid.age_ms / 1000,
                state=BidState(bid.state),
            )
        )
    return bids


def _text(said: Optional[bytes]) -> Optional[str]:
    return None if said is None else said.decode(errors="replace")
