"""A mutex between processes that lives in a folder.

    with Folder("/var/lib/app/lock") as folder:
        with folder.lock(timeout=5):
            ...  # nobody else is here

Threads: any thread may call any method at any time. One Folder is one claimant: threads that should exclude each other open
one each.

Errors: every failure is a LockFolderError, one subclass for each status, and its text names the folder and the holder.

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
from ._folder import Folder, Lock
from ._library import version

__all__ = [
    "AlreadyHeld",
    "Bid",
    "BidState",
    "Busy",
    "Cancelled",
    "Folder",
    "Forked",
    "IOFailure",
    "Internal",
    "Invalid",
    "Lock",
    "LockFolderError",
    "Lost",
    "NotHeld",
    "Timeout",
    "Unsafe",
    "Unsupported",
    "version",
]
