"""An lf_folder that can be closed while other threads use it.

An exception of a signal's handler can come between any two steps of the main thread. So there is no state here that would have to be
put back: a lock in a `with` is (a Condition or a generator is not), and waits, which count, never run in the main thread.
"""

import ctypes
import os
import threading
import time
from typing import Any, Optional

from ._errors import Invalid, LockFolderError, error
from ._library import LF_OK, lib

AGAIN = 0.01

_process = [object()]


def process() -> object:
    """What tells this process from its forked children; a PID does not, where a child is in a new PID namespace."""
    return _process[0]


def _forked() -> None:
    _process[0] = object()


os.register_at_fork(after_in_child=_forked)


class Handle:
    def __init__(self, path: bytes, flags: int) -> None:
        self._process = process()
        self._guard = threading.RLock()  # reentrant: a signal's handler may call too
        self._waits = 0
        self._closing = False
        self._pointer: Optional[int] = None
        pointer = ctypes.c_void_p()
        status = lib.lf_open(path, flags, ctypes.byref(pointer))
        if status != LF_OK:
            raise error(status, None)
        self._pointer = pointer.value

    def outcome(self, function: Any, *arguments: Any) -> Optional[LockFolderError]:
        """A call that is over soon. Returns the error, or None if it went well."""
        with self._guarded():
            return self._outcome(function(self._open(), *arguments))

    def call(self, function: Any, *arguments: Any) -> None:
        failed = self.outcome(function, *arguments)
        if failed is not None:
            raise failed

    def wait(self, timeout_ms: int) -> Optional[LockFolderError]:
        """lf_lock_wait, for any thread but the main one."""
        with self._guarded():
            pointer = self._open()
            self._waits += 1
        try:
            return self._outcome(lib.lf_lock_wait(pointer, timeout_ms))
        finally:
            with self._guarded():
                self._waits -= 1

    def close(self) -> None:
        self._closing = True
        while True:
            with self._guarded():
                if not self._waits or self.is_forked():
                    pointer, self._pointer = self._pointer, None
                    lib.lf_close(pointer)
                    return
                lib.lf_cancel(self._pointer)  # again and again: the wait may be just about to begin
            time.sleep(AGAIN)

    def is_forked(self) -> bool:
        """In a forked child: what other threads were at when it was forked never ends."""
        return self._process is not process()

    def _guarded(self) -> Any:
        return threading.RLock() if self.is_forked() else self._guard

    def _open(self) -> int:
        if self._closing or self._pointer is None:
            raise Invalid("this Folder is closed")
        return self._pointer

    def _outcome(self, status: int) -> Optional[LockFolderError]:
        return None if status == LF_OK else error(status, self._pointer)
