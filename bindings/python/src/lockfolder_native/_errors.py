"""One exception for each status."""

import ctypes
from typing import Any, Dict, Optional, Tuple, Type

from ._library import lib, status_name


class LockFolderError(OSError):
    """A call failed. `errno` is the error number of the system, or None."""

    #: The status of the C library. `name` is its name there, such as "LF_BUSY".
    status: int = 0

    def __init__(self, message: str, errno: Optional[int] = None) -> None:
        super().__init__(errno, message)

    @property
    def name(self) -> str:
        return status_name(self.status)

    def __str__(self) -> str:
        return str(self.strerror)

    def __reduce__(self) -> Tuple[Any, ...]:
        return type(self), (self.strerror, self.errno)


class Busy(LockFolderError):
    """Another claimant holds the lock or bids for it, or another thread is locking this Folder."""

    status = 1


class Timeout(LockFolderError, TimeoutError):
    """The timeout of the wait is over."""

    status = 2


class Cancelled(LockFolderError):
    """Folder.cancel() or Folder.close() ended the wait."""

    status = 3


class Invalid(LockFolderError, ValueError):
    """A bad argument, or a closed Folder."""

    status = -1


class NotHeld(LockFolderError):
    """The lock is not held."""

    status = -2


class AlreadyHeld(LockFolderError):
    """The lock is held by this Folder already."""

    status = -3


class Lost(LockFolderError):
    """The lock is lost: its lease is over, or somebody deleted its bid. Others may have held the lock since."""

    status = -4


class Forked(LockFolderError):
    """The Folder belongs to the parent process."""

    status = -5


class IOFailure(LockFolderError):
    """The system reported an error: see `errno`."""

    status = -6


class Unsafe(LockFolderError):
    """`private` was set, and others can write to this folder."""

    status = -7


class Unsupported(LockFolderError):
    """This filesystem or system can't keep the promises of the lock."""

    status = -8


class Internal(LockFolderError):
    """The library has a bug, and has noticed it."""

    status = -9


_BY_STATUS: Dict[int, Type[LockFolderError]] = {cls.status: cls for cls in LockFolderError.__subclasses__()}


def error(status: int, handle: Optional[int]) -> LockFolderError:
    """Why the last call on this handle failed; None: this thread's last lf_open."""
    size = lib.lf_error_message(handle, None, 0) + 1
    while True:
        buffer = ctypes.create_string_buffer(size)
        length = lib.lf_error_message(handle, buffer, size)
        if length < size:
            break
        size = length + 1
    message = buffer.value.decode(errors="surrogateescape")
    return _BY_STATUS.get(status, LockFolderError)(message, lib.lf_error_code(handle) or None)
