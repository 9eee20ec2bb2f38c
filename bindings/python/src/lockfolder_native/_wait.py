"""Waits that no thread of their own makes: a thread that polls, or an event loop of asyncio.

Python runs a signal's handler in the main thread, between two steps of the interpreter. While the main thread is in the C library, no
handler runs. So it polls the descriptor of the wait, which a signal interrupts, and takes the steps of the wait itself.
"""

import os
import select
import threading
from typing import TYPE_CHECKING, Callable, Optional

from ._errors import LockFolderError
from ._handle import Wait

if TYPE_CHECKING:
    import asyncio

# A signal that comes just before the poll, or to another thread, does not interrupt the poll. And a signal's handler may fork: the child
# has no part in the wait, and a step tells it so. So the main thread looks once in a while.
_LOOK_MS = 1000

_STEP_MS = 10  # where no descriptor tells when a step is due


def wait(wait: Wait, timeout_ms: int) -> Optional[LockFolderError]:
    """lf_lock_wait: None if the lock is held now. After an exception the caller must end the wait."""
    failed = wait.begin(timeout_ms)
    if not wait.is_pending():
        return failed
    poll = select.poll()
    pause: Optional[int] = _STEP_MS
    descriptor = wait.descriptor()
    if descriptor >= 0:
        poll.register(descriptor, select.POLLIN)
        pause = _LOOK_MS if threading.current_thread() is threading.main_thread() else None
    while wait.is_pending():
        poll.poll(pause)
        failed = wait.step()
    return failed


async def wait_in_loop(wait: Wait, timeout_ms: int) -> Optional[LockFolderError]:
    """As `wait`, and lets the event loop run meanwhile. The loop takes the steps."""
    import asyncio  # here, because most programs do not need it

    loop = asyncio.get_running_loop()
    done: "asyncio.Future[Optional[LockFolderError]]" = loop.create_future()

    def step() -> None:
        if not done.done():
            failed = wait.step()
            if not wait.is_pending() and not done.done():
                done.set_result(failed)

    def wake() -> None:
        try:
            loop.call_soon_threadsafe(step)
        except RuntimeError:
            pass  # the loop is closed, so nothing waits for this result

    wait.wake = wake
    failed = wait.begin(timeout_ms)
    if not wait.is_pending():
        return failed
    stop = _watch(loop, wait, step)
    try:
        return await done or wait.closed()  # the loop may have closed the Folder just after the step that took the lock
    finally:
        stop()


def _watch(loop: "asyncio.AbstractEventLoop", wait: Wait, step: Callable[[], None]) -> Callable[[], None]:
    """Makes the loop call `step` when a step is due. Returns what ends that."""
    descriptor = wait.own_descriptor()
    if descriptor < 0:
        return _Ticker(loop, step).stop
    try:
        loop.add_reader(descriptor, step)
    except NotImplementedError:  # not every loop can poll a descriptor
        os.close(descriptor)
        return _Ticker(loop, step).stop
    except BaseException:
        os.close(descriptor)
        raise

    def stop() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)

    return stop


class _Ticker:
    """Calls `step` again and again, until `stop`."""

    def __init__(self, loop: "asyncio.AbstractEventLoop", step: Callable[[], None]) -> None:
        self._loop = loop
        self._step = step
        self._timer = loop.call_later(_STEP_MS / 1000, self._tick)

    def _tick(self) -> None:
        self._timer = self._loop.call_later(_STEP_MS / 1000, self._tick)
        self._step()

    def stop(self) -> None:
        self._timer.cancel()
