"""A mutex between processes that lives in a folder.

    with Folder("/var/lib/app/lock") as folder:
        with folder.holding(timeout=5):  # in a coroutine: async with
            ...  # no other claimant is here

Threads: any thread may call any method at any time. One Folder is one claimant: threads that should exclude each other open
a Folder each.

Errors: every failure is a LockFolderError, with a subclass for each status. Its text names the folder and the holder.

Signals: Ctrl-C ends a wait of the main thread. In another thread a wait ends by Folder.cancel().
"""

from ._bids import Bid, BidState
from ._errors import (
    AlreadyHeld,
    Busy,
    Cancelled,
    Forked,
    Internal,
    Invalid,
    IOFailure,
    LockFolderError,
    Lost,
    NotHeld,
    Timeout,
    Unsafe,
    Unsupported,
)
from ._folder import Folder
from ._library import version
from ._lock import Holding, Lock
from ._loss import Loss

__all__ = [
    "AlreadyHeld",
    "Bid",
    "BidState",
    "Busy",
    "Cancelled",
    "Folder",
    "Forked",
    "Holding",
    "IOFailure",
    "Internal",
    "Invalid",
    "Lock",
    "LockFolderError",
    "Loss",
    "Lost",
    "NotHeld",
    "Timeout",
    "Unsafe",
    "Unsupported",
    "version",
]
