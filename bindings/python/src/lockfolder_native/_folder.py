import ctypes
import math
import os
from types import TracebackType
from typing import Any, List, Optional, Type, Union

from . import _bids
from ._errors import Lost, NotHeld
from ._handle import Handle
from ._library import lib
from ._wait import wait

_NO_CREATE = 1
_PRIVATE = 2
_TRUST_FILESYSTEM = 4


class Folder:
    """One claimant on one lock folder. Two exclude each other, in one process too.

    `create`: make the folder if it is missing (one level). `private`: refuse a folder that this user doesn't own, or that group or
    others can write (Unsafe). `trust_filesystem`: use the folder although its filesystem is not known to show every bid in a
    listing. `malformed_grace`: after how many seconds a bid that is cut off counts as stale; 0: never.
    """

    def __init__(
        self,
        path: Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"],
        *,
        create: bool = True,
        private: bool = False,
        trust_filesystem: bool = False,
        malformed_grace: float = 0,
    ) -> None:
        name = os.fsencode(path)
        if b"\0" in name:
            raise ValueError("the path has a NUL in it")
        grace = min(_milliseconds("malformed_grace", malformed_grace), 2**32 - 1)
        flags = (0 if create else _NO_CREATE) | private * _PRIVATE | trust_filesystem * _TRUST_FILESYSTEM
        self._handle = Handle(name, flags)
        if grace:
            self._handle.call(lib.lf_set_malformed_grace, grace)

    def lock(self, timeout: Optional[float] = None, blocking: bool = True) -> "Lock":
        """Waits for the lock: for ever, or for `timeout` seconds (Timeout). `blocking=False` tries once (Busy).

        Ends with the exception of a signal's handler, such as KeyboardInterrupt, if this is the main thread.
        """
        if not blocking:
            if timeout is not None:
                raise ValueError("a lock that does not block has no timeout")
            self._handle.call(lib.lf_lock)
        else:
            failed = wait(self._handle, -1 if timeout is None else _milliseconds("timeout", timeout))
            if failed is not None:
                raise failed
        return Lock(self._handle)

    def cancel(self) -> None:
        """Makes a wait of another thread on this Folder raise Cancelled. Without a wait in progress it does nothing."""
        self._handle.call(lib.lf_cancel)

    def in_use(self) -> bool:
        """Is any other claimant's bid there that is not stale? Changes nothing."""
        result = ctypes.c_bool()
        self._handle.call(lib.lf_in_use, ctypes.byref(result))
        return result.value

    def reap_stale(self) -> int:
        """Deletes every bid whose owner is provably gone, and returns their number. Locking does this too."""
        result = ctypes.c_size_t()
        self._handle.call(lib.lf_reap_stale, ctypes.byref(result))
        return result.value

    def bids(self) -> List[_bids.Bid]:
        """A snapshot of the bids, by name. Changes nothing."""
        result = ctypes.c_void_p()
        self._handle.call(lib.lf_bids, ctypes.byref(result))
        try:
            return _bids.read(result)
        finally:
            lib.lf_bid_list_free(result)

    def close(self) -> None:
        """Unlocks if the lock is held, ends a wait of another thread (Cancelled), and frees the handle. Again: does nothing.

        Not for signal handlers.
        """
        self._handle.close()

    def __enter__(self) -> "Folder":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class Lock:
    """The lock, held: made by Folder.lock(), and ended by unlock() or the end of a `with`."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._released = False

    def unlock(self) -> None:
        """Gives the lock back. Lost: somebody had deleted the bid. After any other error it is still held."""
        try:
            self._call(lib.lf_unlock)
        except (Lost, NotHeld):
            self._released = True
            raise
        self._released = True

    def holds(self) -> bool:
        """Is the lock held, and the bid still in the folder?"""
        try:
            self._call(lib.lf_holds)
        except (Lost, NotHeld):
            return False
        return True

    def fence(self) -> int:
        """A fencing token, larger than every token given before in this folder, also across crashes and power loss."""
        token = ctypes.c_uint64()
        self._call(lib.lf_fence, ctypes.byref(token))
        return token.value

    def __enter__(self) -> "Lock":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        # Not in a forked child: the lock is the parent's, and a Forked would hide what the child leaves for (SystemExit).
        if not self._released and not self._handle.is_forked():
            self.unlock()

    def _call(self, function: Any, *arguments: Any) -> None:
        if self._released:
            raise NotHeld("this lock was given back already")
        self._handle.call(function, *arguments)


def _milliseconds(name: str, seconds: float) -> int:
    if not seconds >= 0:
        raise ValueError(f"{name} is not a number of seconds: {seconds!r}")
    return math.ceil(min(seconds * 1000, 2**53))
