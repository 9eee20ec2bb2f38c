"""Waiting so that Ctrl-C arrives.

Python runs a signal's handler in the main thread, and only between two steps of its interpreter, so not while that thread is
in the C library. There the wait is left to a helper thread, and the main thread waits for the helper, which a signal can
interrupt. (Waiting in slices would do too, but each slice would go to the end of the queue.)
"""

import signal
import threading
from _thread import allocate_lock, start_new_thread
from typing import Optional

from ._errors import LockFolderError
from ._handle import AGAIN, Handle
from ._library import lib


def wait(handle: Handle, timeout_ms: int) -> Optional[LockFolderError]:
    """lf_lock_wait: None if the lock is held now. If an exception ends it, the lock is not held."""
    if threading.current_thread() is not threading.main_thread():
        return handle.wait(timeout_ms)
    helper = _Helper(handle, timeout_ms)
    try:
        return helper.run_in_thread()
    except BaseException:
        helper.give_up()
        raise


class _Helper:
    # Bare threads and locks: an exception in the middle of threading.Thread.start() breaks that.

    def __init__(self, handle: Handle, timeout_ms: int) -> None:
        self._handle = handle
        self._timeout_ms = timeout_ms
        self._guard = threading.RLock()
        self._began = False
        self._revoked = False
        self._deaf, self._running = allocate_lock(), allocate_lock()
        self._deaf.acquire()
        self._running.acquire()
        self._over = False
        self._failed: Optional[BaseException] = None
        self._outcome: Optional[LockFolderError] = None

    def run_in_thread(self) -> Optional[LockFolderError]:
        start_new_thread(self._run, ())
        self._deaf.acquire()  # only now: a signal that the helper took would not wake us
        self._running.acquire()  # a signal interrupts this
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
            self._outcome = self._handle.wait(self._timeout_ms)
        except BaseException as failed:  # raised again in the thread that asked
            self._failed = failed
        finally:
            self._over = True
            self._running.release()

    def give_up(self) -> None:
        """Returns when the wait is over for good and the lock not held. A second signal does not keep it from that."""
        while True:
            try:
                with self._guard:
                    self._revoked = True
                if self._began:
                    while not self._over:
                        self._handle.outcome(lib.lf_cancel)
                        self._running.acquire(timeout=AGAIN)
                    if self._outcome is None and self._failed is None:
                        self._handle.outcome(lib.lf_unlock)
                return
            except LockFolderError:
                return  # closed, and so unlocked
            except BaseException:
                continue
