import ctypes
import math
import operator
import os
from typing import Any, List, Optional, Union

from . import _bids
from ._handle import Handle
from ._library import lib
from ._lock import Holding, Lock
from ._loss import Loss

_NO_CREATE = 1
_PRIVATE = 2
_TRUST_FILESYSTEM = 4
_NO_THREAD = 8

_ANY_NUMBER_OF_SLOTS = 0


class Folder:
    """One claimant on one lock folder. Two Folders exclude each other, also in one process, unless both share the lock.

    `shared`: any number of shared Folders hold the lock together, as readers do. A Folder without it is a writer, and holds the lock
    alone. `slots`: up to so many Folders hold the lock together, as with a semaphore, this one included. All that share a folder name
    the same number; another one in use there makes a lock() Invalid. Waiters are served first come, first served: a reader that comes
    later does not go ahead of a writer.

    `create`: make the folder if it is missing (one level). `private`: refuse a folder that another user owns, or that group or
    others can write (Unsafe). `trust_filesystem`: use the folder although its filesystem may not show every bid in a
    listing. `malformed_grace`: after how many seconds a bid that is cut off counts as stale. 0: never.

    `lease`: how many seconds a lease lasts where one is needed, because other hosts can write to the folder (5 to 3600; the library's
    default is 30). `no_thread`: no thread renews it, and the program calls Lock.renew().
    """

    def __init__(
        self,
        path: Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"],
        *,
        create: bool = True,
        private: bool = False,
        trust_filesystem: bool = False,
        malformed_grace: float = 0,
        lease: Optional[float] = None,
        no_thread: bool = False,
        slots: int = 1,
        shared: bool = False,
    ) -> None:
        name = os.fsencode(path)
        if b"\0" in name:
            raise ValueError("the path has a NUL in it")
        grace = min(_milliseconds("malformed_grace", malformed_grace), 2**32 - 1)
        flags = (0 if create else _NO_CREATE) | private * _PRIVATE | trust_filesystem * _TRUST_FILESYSTEM
        lease_ms = None if lease is None else min(_milliseconds("lease", lease), 2**32 - 1)
        number = _number_of_slots(slots, shared)
        self._handle = Handle(name, flags | no_thread * _NO_THREAD)
        try:
            if number != 1:
                self._handle.call(lib.lf_set_slots, number)
            if grace:
                self._handle.call(lib.lf_set_malformed_grace, grace)
            if lease_ms is not None:
                self._handle.call(lib.lf_set_lease, lease_ms)
        except BaseException:
            self._handle.close()
            raise

    def lock(self, timeout: Optional[float] = None, blocking: bool = True) -> Lock:
        """Waits for the lock: without a limit, or for `timeout` seconds (Timeout). `blocking=False` tries once (Busy).

        In the main thread, an exception of a signal's handler, such as KeyboardInterrupt, ends lock(), and the lock is not held.
        Such an exception can also come just after lock() has returned. Then the lock is held until the Folder is closed.
        `with folder.holding():` does not have this gap.
        """
        timeout_ms = _timeout(timeout, blocking)
        lock = Lock(self._handle)
        try:
            lock._take(timeout_ms)
            return lock
        except BaseException:
            lock._give_up()
            raise

    def holding(self, timeout: Optional[float] = None, blocking: bool = True) -> Holding:
        """For `with folder.holding() as lock:`. The `with` takes the lock as lock() does, and its end gives the lock back.

        In a coroutine of asyncio, `async with folder.holding() as lock:` lets the event loop run while it waits. A cancellation of the
        task leaves no lock held.

        An exception of a signal's handler leaves no lock held, wherever it comes. holding() alone, without a `with`, takes nothing.
        """
        return Holding(self._handle, _timeout(timeout, blocking))

    def cancel(self) -> None:
        """Ends a wait of another thread or task on this Folder: it raises Cancelled. Without a wait in progress cancel() does nothing."""
        self._handle.call(lib.lf_cancel)

    @property
    def lost(self) -> Loss:
        """Tells when the lease of a lock is lost."""
        return Loss(self._handle)

    def in_use(self) -> bool:
        """True if a bid of another claimant is there that is not stale. Changes nothing."""
        result = ctypes.c_bool()
        self._handle.call(lib.lf_in_use, ctypes.byref(result))
        return result.value

    def reap_stale(self) -> int:
        """Deletes every bid whose owner is provably gone, and returns the number of these bids. lock() does this too."""
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
        """Unlocks if the lock is held, ends a wait of another thread or task (Cancelled), and frees the handle. A second close() does nothing.

        Don't call it in a signal's handler.
        """
        self._handle.close()

    def __enter__(self) -> "Folder":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def _number_of_slots(slots: int, shared: bool) -> int:
    slots = operator.index(slots)
    if not 1 <= slots < 2**32:
        raise ValueError(f"slots is not a number of claimants from 1 on: {slots!r}")
    if not shared:
        return slots
    if slots != 1:
        raise ValueError("a shared lock has any number of slots: pass shared or slots, and not both")
    return _ANY_NUMBER_OF_SLOTS


def _timeout(timeout: Optional[float], blocking: bool) -> Optional[int]:
    """In milliseconds; -1: for ever. None: try once."""
    if blocking:
        return -1 if timeout is None else _milliseconds("timeout", timeout)
    if timeout is not None:
        raise ValueError("a lock that does not block has no timeout")
    return None


def _milliseconds(name: str, seconds: float) -> int:
    if not seconds >= 0:
        raise ValueError(f"{name} is not a number of seconds: {seconds!r}")
    return math.ceil(min(seconds * 1000, 2**53))
