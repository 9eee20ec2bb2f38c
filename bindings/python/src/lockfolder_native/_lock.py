"""The guard of a lock, and the lock for the length of a `with`.

An exception of a signal's handler, such as KeyboardInterrupt, can come between any two steps of the main thread. So the Lock object exists
before the lock is taken. The call that takes the lock and the record of its status are one step.
"""

import ctypes
import weakref
from types import TracebackType
from typing import Any, Dict, List, Optional, Type

from ._errors import LockFolderError, Lost, NotHeld
from ._handle import Handle, Wait
from ._library import LF_ERR_LOST, LF_ERR_NOT_HELD, LF_OK, lib
from ._wait import wait, wait_in_loop

_RELEASED = (LF_OK, LF_ERR_LOST, LF_ERR_NOT_HELD)  # the statuses of lf_unlock after which the lock is not held


class Lock:
    """A lock that is held. Folder.lock() or Folder.holding() makes it; unlock() or the end of a `with` ends it.

    A Lock that the program drops stays held until the Folder is closed.
    """

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._wait = Wait(handle)
        self._given: List[int] = []  # the statuses of the calls that give it back

    def unlock(self) -> None:
        """Gives the lock back. Lost: its lease was over, or somebody had deleted the bid. After any other error the lock is still held."""
        with self._handle.guarded():
            # Another thread may have unlocked meanwhile, and the Folder may hold a later lock. That one must stay.
            self._check_held()
            failed = self._handle.outcome_into(self._given, lib.lf_unlock)
        if failed is not None:
            raise failed

    def holds(self) -> bool:
        """True if the lock is held, its bid is still in the folder, and its lease is not over."""
        try:
            self._call(lib.lf_holds)
        except (Lost, NotHeld):
            return False
        return True

    def fence(self) -> int:
        """A fencing token. It is larger than every earlier token of this folder, also after a crash or a power loss."""
        token = ctypes.c_uint64()
        self._call(lib.lf_fence, ctypes.byref(token))
        return token.value

    def valid_for(self) -> Optional[float]:
        """For how many seconds the lock is certainly held without another renewal of its lease. None: it has no lease."""
        milliseconds = ctypes.c_int64()
        self._call(lib.lf_valid_for, ctypes.byref(milliseconds))
        return None if milliseconds.value < 0 else milliseconds.value / 1000

    def renew(self) -> None:
        """Renews the lease now. A Folder with `no_thread` needs this at least every sixth of its lease."""
        self._call(lib.lf_renew)

    def __enter__(self) -> "Lock":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        try:
            # Not in a forked child: the lock is the parent's, and Forked would hide the child's own exception (SystemExit).
            if self._is_held() and not self._handle.is_forked():
                self.unlock()
        except LockFolderError:
            raise
        except BaseException:
            self._give_up()
            raise

    def _take(self, timeout_ms: Optional[int]) -> None:
        """Waits, or tries once where `timeout_ms` is None. After an exception the caller must call `_give_up`."""
        if timeout_ms is None:
            failed = self._handle.outcome_into(self._wait.statuses, lib.lf_lock)
        else:
            failed = wait(self._wait, timeout_ms)
        if failed is not None:
            raise failed

    async def _take_in_loop(self, timeout_ms: Optional[int]) -> None:
        """As `_take`, and lets the event loop run meanwhile."""
        if timeout_ms is None:
            return self._take(None)
        failed = await wait_in_loop(self._wait, timeout_ms)
        if failed is not None:
            raise failed

    def _give_up(self) -> None:
        """Ends the wait, and gives the lock back if it is held. A second signal does not prevent that.

        If the system refuses the unlock, the lock is held until the Folder is closed.
        """
        while not self._handle.is_forked() and (self._wait.is_pending() or self._is_held()):
            try:
                self._wait.end()
                if self._is_held():
                    self.unlock()
                return
            except LockFolderError:
                return  # the Folder is closed and so unlocked, or the system refused
            except BaseException:
                continue

    def _is_held(self) -> bool:
        return self._wait.has_lock() and not (self._given and self._given[-1] in _RELEASED)

    def _check_held(self) -> None:
        if not self._is_held():
            raise NotHeld("this lock was given back before")

    def _call(self, function: Any, *arguments: Any) -> None:
        self._check_held()
        self._handle.call(function, *arguments)


class Holding:
    """What Folder.holding() returns. A `with` of it takes the lock, and the end of the `with` gives the lock back. In a coroutine,
    `async with` does the same, and lets the event loop run while it waits.

    An exception can come at the very start of `__exit__`, before any `try`. The lock is then given back when the Holding is freed.
    A weak reference does this, and not `__del__`: Python drops a KeyboardInterrupt that comes in such code, and with a weak
    reference no such code runs after a normal `with`.
    """

    def __init__(self, handle: Handle, timeout_ms: Optional[int]) -> None:
        self._handle = handle
        self._timeout_ms = timeout_ms
        self._lock: Optional[Lock] = None

    def __enter__(self) -> Lock:
        lock = Lock(self._handle)
        _at_the_end_of(self, lock)
        try:
            lock._take(self._timeout_ms)
            self._lock = lock
            return lock
        except BaseException:
            lock._give_up()
            _ends.pop(lock, None)
            raise

    def __exit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        if self._lock is not None:
            self._lock.__exit__(kind, value, trace)
            _ends.pop(self._lock, None)

    async def __aenter__(self) -> Lock:
        lock = Lock(self._handle)
        _at_the_end_of(self, lock)
        try:
            await lock._take_in_loop(self._timeout_ms)
            self._lock = lock
            return lock
        except BaseException:  # also a cancellation of the task, which can come after the lock was taken
            lock._give_up()
            _ends.pop(lock, None)
            raise

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.__exit__(kind, value, trace)


_ends: Dict[Lock, "weakref.ref[Holding]"] = {}  # not in the Holding: its weak reference must outlive it


def _at_the_end_of(holding: Holding, lock: Lock) -> None:
    def give_up(_: Any) -> None:
        _ends.pop(lock, None)
        lock._give_up()

    _ends[lock] = weakref.ref(holding, give_up)
