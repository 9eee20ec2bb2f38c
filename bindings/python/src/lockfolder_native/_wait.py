"""A wait that Ctrl-C can end.

Python runs a signal's handler in the main thread, between two steps of the interpreter. While the main thread is in the C library, no
handler runs. So a helper thread waits in the C library, and the main thread waits for the helper. A signal can interrupt
that. (Several short waits would let handlers run too, but each of them would go to the end of the queue.)
"""

import os
import signal
import threading
import weakref
from _thread import allocate_lock, start_new_thread
from typing import List, Optional

from ._errors import LockFolderError
from ._handle import AGAIN, Handle
from ._library import lib


def wait(handle: Handle, timeout_ms: int, statuses: List[int]) -> Optional[LockFolderError]:
    """lf_lock_wait: None if the lock is held now. Appends its status to the list.

    If an exception ends it, no wait is in progress any more, and the list says whether the lock is held.
    """
    if threading.current_thread() is not threading.main_thread():
        return handle.wait_into(statuses, timeout_ms)
    helper = _Helper(handle, timeout_ms, statuses)
    try:
        return helper.run_in_thread()
    except BaseException:
        helper.give_up()
        raise


_helpers: "weakref.WeakSet[_Helper]" = weakref.WeakSet()


def _forked() -> None:
    for helper in _helpers:
        helper.end_in_child()


os.register_at_fork(after_in_child=_forked)


class _Helper:
    # Uses _thread: an exception in the middle of threading.Thread.start() would leave the Thread broken.

    def __init__(self, handle: Handle, timeout_ms: int, statuses: List[int]) -> None:
        self._handle = handle
        self._timeout_ms = timeout_ms
        self._statuses = statuses
        self._guard = threading.RLock()
        self._began = False
        self._revoked = False
        self._deaf, self._running = allocate_lock(), allocate_lock()
        self._deaf.acquire()
        self._running.acquire()
        self._over = False
        self._failed: Optional[BaseException] = None
        self._outcome: Optional[LockFolderError] = None
        _helpers.add(self)

    def run_in_thread(self) -> Optional[LockFolderError]:
        start_new_thread(self._run, ())
        self._deaf.acquire()  # until the helper blocks signals: a signal that the helper gets does not wake this thread
        self._running.acquire()  # a signal interrupts this
        if self._handle.is_forked():
            return self._handle.outcome(lib.lf_holds)  # Forked
        if self._failed is not None:
            raise self._failed
        return self._outcome

    def _run(self) -> None:
        try:
            try:
                signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            finally:
                self._deaf.release()
            with self._guard:
                if self._revoked:
                    return
                self._began = True
            self._outcome = self._handle.wait_into(self._statuses, self._timeout_ms)
        except BaseException as failed:  # the main thread raises it again
            self._failed = failed
        finally:
            self._over = True
            self._running.release()

    def end_in_child(self) -> None:
        """Ends the wait in a child that a signal's handler has forked. The helper is a thread of the parent and does not exist here."""
        for lock in self._deaf, self._running:
            if lock.locked():
                lock.release()

    def give_up(self) -> None:
        """Returns when the wait is over for good. A second signal does not keep it from that.

        In a forked child it returns at once: the helper is a thread of the parent, and does not exist here.
        """
        while not self._handle.is_forked():
            try:
                with self._guard:
                    self._revoked = True
                if self._began:
                    while not self._over:
                        self._handle.outcome(lib.lf_cancel)
                        self._running.acquire(timeout=AGAIN)
                return
            except LockFolderError:
                return  # closed, and so unlocked
            except BaseException:
                continue
