"""An lf_folder that can be closed while other threads use it.

An exception of a signal's handler can come between any two steps of the main thread. So the main thread changes no state here that such
an exception would leave wrong. A `with` of an RLock is safe; a Condition or a generator is not. The count of waits changes in other
threads only. The status of a call that takes the lock or gives it back is never lost between two steps: see `call_into`.
"""

import ctypes
import os
import threading
import time
from typing import Any, List, Optional

from ._errors import Invalid, LockFolderError, error
from ._library import LF_OK, lib

AGAIN = 0.01

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


class Handle:
    def __init__(self, path: bytes, flags: int) -> None:
        self._process = process()
        self._guard = threading.RLock()  # reentrant: a signal's handler may call a method too
        self._waits = 0
        self._closing = False
        self._pointer: Optional[int] = None
        pointer = ctypes.c_void_p()
        status = lib.lf_open(path, flags, ctypes.byref(pointer))
        if status != LF_OK:
            raise error(status, None)
        self._pointer = pointer.value

    def outcome(self, function: Any, *arguments: Any) -> Optional[LockFolderError]:
        """Makes a call that does not wait. Returns the error, or None after success."""
        return self.outcome_into([], function, *arguments)

    def outcome_into(self, statuses: List[int], function: Any, *arguments: Any) -> Optional[LockFolderError]:
        """As `outcome`, and appends the status to the list. An exception that comes after the call does not lose the status."""
        with self.guarded():
            return self._outcome(call_into(statuses, function, self._open(), *arguments))

    def call(self, function: Any, *arguments: Any) -> None:
        failed = self.outcome(function, *arguments)
        if failed is not None:
            raise failed

    def value(self, function: Any, *arguments: Any) -> Any:
        """Makes a call whose result is a value, and not a status."""
        with self.guarded():
            return function(self._open(), *arguments)

    def wait_into(self, statuses: List[int], timeout_ms: int) -> Optional[LockFolderError]:
        """lf_lock_wait, for any thread but the main one. Appends the status to the list, as `outcome_into` does."""
        with self.guarded():
            pointer = self._open()
            self._waits += 1
        try:
            return self._outcome(call_into(statuses, lib.lf_lock_wait, pointer, timeout_ms))
        finally:
            with self.guarded():
                self._waits -= 1

    def close(self) -> None:
        self._closing = True
        while True:
            with self.guarded():
                if not self._waits or self.is_forked():
                    pointer, self._pointer = self._pointer, None
                    lib.lf_close(pointer)
                    return
                lib.lf_cancel(self._pointer)  # repeated: a cancellation before the wait begins has no effect
            time.sleep(AGAIN)

    def is_forked(self) -> bool:
        """True in a forked child. A lock that another thread held at the fork is never released there."""
        return self._process is not process()

    def guarded(self) -> Any:
        """A lock for a `with`. While it is held, no other thread makes a call that does not wait, and none frees the handle."""
        return threading.RLock() if self.is_forked() else self._guard

    def _open(self) -> int:
        if self._closing or self._pointer is None:
            raise Invalid("this Folder is closed")
        return self._pointer

    def _outcome(self, status: int) -> Optional[LockFolderError]:
        return None if status == LF_OK else error(status, self._pointer)
