"""An lf_folder that can be closed while other threads use it.

An exception of a signal's handler can come between any two steps of the main thread. So the main thread changes no state here that such
an exception would leave wrong. A `with` of an RLock is safe; a Condition or a generator is not. The status of a call that takes the
lock or gives it back is never lost between two steps: see `call_into`.
"""

import ctypes
import os
import threading
import time
from typing import Any, Callable, List, Optional

from ._errors import Cancelled, Invalid, LockFolderError, error
from ._library import LF_OK, LF_PENDING, lib

_MOMENT = 0.001

_process = [object()]


def process() -> object:
    """An object that a forked child does not share. A PID is not enough: a child in a new PID namespace can have the same one."""
    return _process[0]


def _forked() -> None:
    _process[0] = object()


os.register_at_fork(after_in_child=_forked)


def call_into(statuses: List[int], function: Any, *arguments: Any) -> int:
    """Calls a function of the C library, appends its status to the list, and returns it.

    The call and the append are one step of the interpreter, so no exception of a signal's handler comes between them.
    """
    statuses.extend(map(function, *((argument,) for argument in arguments)))
    return statuses[-1]


class Wait:
    """One wait of a handle, in steps. The library allows one at a time."""

    def __init__(self, handle: "Handle") -> None:
        self._handle = handle
        self.statuses: List[int] = []  # of the calls that take the lock; the last one counts
        self._ends: List[int] = []  # the status of lf_wait_end
        #: Where a loop waits, this makes it take a step. A thread that waits needs none: lf_cancel wakes it.
        self.wake: Optional[Callable[[], None]] = None

    def is_pending(self) -> bool:
        return self.statuses[-1:] == [LF_PENDING] and not self._ends

    def has_lock(self) -> bool:
        return self.statuses[-1:] == [LF_OK]

    def begin(self, timeout_ms: int) -> Optional[LockFolderError]:
        """Returns the error; after None the lock is held or the wait is pending. After an exception the caller must call `end`."""
        return self._handle.begin(self, timeout_ms)

    def step(self) -> Optional[LockFolderError]:
        """As `begin`. Takes a step, if there is something to do."""
        with self._handle.guarded():
            if not self.is_pending():
                return self.closed()  # `close` has ended this wait
            return self._handle.outcome_of(call_into(self.statuses, lib.lf_wait_step, self._handle.pointer))

    def end(self) -> None:
        """Gives up the wait if it is pending."""
        with self._handle.guarded():
            if self.is_pending() and self._handle.pointer is not None:
                call_into(self._ends, lib.lf_wait_end, self._handle.pointer)

    def closed(self) -> Optional[LockFolderError]:
        """An error if the handle was closed. Then the lock is not held any more."""
        return Cancelled("this Folder was closed while it waited for the lock") if self._handle.is_closing else None

    def descriptor(self) -> int:
        """What is readable when a step is due, or -1. It is the library's. The handle is not closed while a thread waits."""
        return int(lib.lf_wait_fd(self._handle.pointer))

    def own_descriptor(self) -> int:
        """The same as a descriptor of our own: the handle may be closed while a loop waits."""
        with self._handle.guarded():
            descriptor = self.descriptor()
            return descriptor if descriptor < 0 else duplicate(descriptor)


def duplicate(descriptor: int) -> int:
    """Another one for the same. It is never a standard one (0 to 2), which the program may have closed."""
    import fcntl  # Windows has no such descriptors

    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)


class Handle:
    def __init__(self, path: bytes, flags: int) -> None:
        self._process = process()
        self._guard = threading.RLock()  # reentrant: a signal's handler may call a method too
        self._wait: Optional[Wait] = None  # the last one that began
        self.is_closing = False
        self.pointer: Optional[int] = None
        pointer = ctypes.c_void_p()
        status = lib.lf_open(path, flags, ctypes.byref(pointer))
        if status != LF_OK:
            raise error(status, None)
        self.pointer = pointer.value

    def outcome(self, function: Any, *arguments: Any) -> Optional[LockFolderError]:
        """Makes a call that does not wait. Returns the error, or None after success."""
        return self.outcome_into([], function, *arguments)

    def outcome_into(self, statuses: List[int], function: Any, *arguments: Any) -> Optional[LockFolderError]:
        """As `outcome`, and appends the status to the list. An exception that comes after the call does not lose the status."""
        with self.guarded():
            return self.outcome_of(call_into(statuses, function, self._open(), *arguments))

    def call(self, function: Any, *arguments: Any) -> None:
        failed = self.outcome(function, *arguments)
        if failed is not None:
            raise failed

    def value(self, function: Any, *arguments: Any) -> Any:
        """Makes a call whose result is a value, and not a status."""
        with self.guarded():
            return function(self._open(), *arguments)

    def begin(self, wait: Wait, timeout_ms: int) -> Optional[LockFolderError]:
        with self.guarded():
            status = call_into(wait.statuses, lib.lf_wait_begin, self._open(), timeout_ms)
            if status == LF_PENDING:
                self._wait = wait
            return self.outcome_of(status)

    def close(self) -> None:
        self.is_closing = True  # from here on no wait begins
        with self.guarded():
            wait = self._wait
            if wait is not None and self._is_waiting():
                if wait.wake is None:
                    lib.lf_cancel(self.pointer)
                else:  # the loop may be that of this thread, or stand still, so this can't wait for it
                    wait.end()
                    wait.wake()
        while self._is_waiting():
            time.sleep(_MOMENT)  # the thread that waits is awake, and takes its last step
        with self.guarded():
            pointer, self.pointer = self.pointer, None
            lib.lf_close(pointer)

    def _is_waiting(self) -> bool:
        """In a forked child nothing waits: the thread that did so is the parent's."""
        return self._wait is not None and self._wait.is_pending() and not self.is_forked()

    def is_forked(self) -> bool:
        """True in a forked child. A lock that another thread held at the fork is never released there."""
        return self._process is not process()

    def guarded(self) -> Any:
        """A lock for a `with`. While it is held, no other thread makes a call that does not wait, and none frees the handle."""
        return threading.RLock() if self.is_forked() else self._guard

    def _open(self) -> int:
        if self.is_closing or self.pointer is None:
            raise Invalid("this Folder is closed")
        return self.pointer

    def outcome_of(self, status: int) -> Optional[LockFolderError]:
        return None if status in (LF_OK, LF_PENDING) else error(status, self.pointer)
