"""An exception of a signal's handler, such as KeyboardInterrupt, can come at any step of the main thread.

The tests raise an exception from a trace function. Each run raises it one place later than the run before. The places are each
opcode of the test's own function, and in the packages each place where Python runs signals' handlers.
"""

import dis
import os
import sys
import unittest
from pathlib import Path
from unittest import mock

import lockfolder_compat
import lockfolder_native
from lockfolder_compat import lockfolder
from lockfolder_native import Folder, Timeout
from lockfolder_native._handle import Wait

from support import GUARD, TestCase

PACKAGES = [os.path.dirname(package.__file__) for package in (lockfolder_native, lockfolder_compat)]


class Interrupt(BaseException):
    pass


class Tracer:
    """Raises Interrupt once, at the place with this number. `code` is the test's own function."""

    def __init__(self, number, code=None):
        self._number = number
        self._code = code
        self._count = 0
        self._callers = set()  # the frames that have called a Python function in their latest step, by id

    def run(self, work, *arguments):
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            return work(*arguments)
        finally:
            sys.settrace(before)

    def _enter(self, frame, *_):
        self._callers.add(id(frame.f_back))
        self._callers.discard(id(frame))
        if is_in_callback(frame):
            return None
        own = frame.f_code is self._code
        if not own and os.path.dirname(frame.f_code.co_filename) not in PACKAGES:
            return None
        frame.f_trace_lines = False
        frame.f_trace_opcodes = True
        before = ""

        def trace(frame, event, _):
            nonlocal before
            if event == "opcode":
                name = dis.opname[frame.f_code.co_code[frame.f_lasti]]
                # Python runs handlers at the start of a function, at a jump back and after a call of a C function.
                after_c = before.startswith("CALL") and id(frame) not in self._callers
                self._callers.discard(id(frame))
                before = name
                if own or after_c or name == "RESUME" or name.startswith("JUMP_BACKWARD"):
                    self._step()
            return trace

        self._step()
        return trace

    def _step(self):
        self._count += 1
        if self._count == self._number:
            raise Interrupt  # Python removes the trace function then


def is_in_callback(frame):
    """Python drops an exception of a weak reference's callback, so none can come from there. (And Python 3.11 can then take a traceback
    for the trace function.)"""
    while frame:
        if frame.f_code.co_name == "give_up":
            return True
        frame = frame.f_back
    return False


def hold(folder):
    with folder.holding():
        pass


def hold_with_a_timeout(folder):
    with folder.holding(timeout=GUARD):
        pass


def hold_at_once(folder):
    with folder.holding(blocking=False) as lock:
        lock.fence()


def hold_and_unlock(folder):
    with folder.holding(blocking=False) as lock:
        lock.unlock()


def hold_and_raise(folder):
    try:
        with folder.holding(blocking=False):
            1 / 0
    except ZeroDivisionError:
        pass


def lock(folder):
    with folder.lock():
        pass


def lock_at_once(folder):
    with folder.lock(blocking=False):
        pass


def wait_in_vain(folder):
    try:
        with folder.holding(timeout=0.005):
            raise AssertionError("the lock was not free")
    except Timeout:
        pass


class InterruptTest(TestCase):
    def interrupts(self, work, *arguments, code=None):
        """Runs `work` again and again, and raises in each run one place later. Yields that number after each run."""
        for number in range(1, 100_000):
            try:
                Tracer(number, code).run(work, *arguments)
                break
            except Interrupt:
                pass
            yield number  # the exception is handled by now
        self.assertGreater(number, 10, "the trace function was not called")

    def test_an_exception_at_any_place_of_a_with_leaves_no_lock(self):
        with Folder(self.path) as folder, Folder(self.path) as other:
            for work in hold, hold_with_a_timeout, hold_at_once, hold_and_unlock, hold_and_raise:
                for number in self.interrupts(work, folder, code=work.__code__):
                    self.assertEqual(other.bids(), [], f"{work.__name__}, raised at place {number}")
                    folder.lock(blocking=False).unlock()  # the Folder knows that it holds nothing

    def test_an_exception_at_any_place_of_a_wait_leaves_no_ticket(self):
        waits = 0
        queue = os.path.join(self.path, ".lockfolder", "queue")
        with Folder(self.path) as folder, Folder(self.path) as holder, holder.lock():
            with mock.patch.object(Wait, "end", autospec=True, side_effect=Wait.end) as end:
                for number in self.interrupts(wait_in_vain, folder, code=wait_in_vain.__code__):
                    self.assertFalse(os.path.exists(queue), f"raised at place {number}")
                    self.assertEqual(len(holder.bids()), 1)
                    waits += any(call.args[0].statuses for call in end.mock_calls)
                    end.reset_mock()
                    wait_in_vain(folder)  # the Folder knows that no wait is in progress
        self.assertGreater(waits, 0, "no exception came during a wait")

    def test_an_exception_at_any_place_inside_lock_leaves_no_lock(self):
        def take(options):
            taken.append(folder.lock(**options))

        with Folder(self.path) as folder, Folder(self.path) as other:
            for options in {}, {"timeout": GUARD}, {"blocking": False}:
                taken = []
                for number in self.interrupts(take, options):
                    self.assertEqual((taken, other.bids()), ([], []), f"{options}, raised at place {number}")
                taken.pop().unlock()

    def test_close_gives_back_the_lock_that_an_exception_left(self):
        left = 0
        with Folder(self.path) as other:
            for work in lock, lock_at_once:
                folders = [Folder(self.path)]
                for number in self.interrupts(lambda: work(folders[0]), code=work.__code__):
                    left += len(other.bids())
                    folders.pop().close()
                    self.assertEqual(other.bids(), [], f"{work.__name__}, raised at place {number}")
                    folders.append(Folder(self.path))
                folders.pop().close()
        self.assertGreater(left, 0, "lock() has no gap any more: its documentation says that it has")

    def test_the_compatible_package_knows_the_lock_that_an_exception_left(self):
        path = Path(self.path)
        lockfolder.setup()
        with Folder(self.path) as other:

            def lock_and_unlock():
                self.assertTrue(lockfolder.lock(path))
                lockfolder.unlock(path)

            for number in self.interrupts(lock_and_unlock, code=lockfolder.lock.__code__):
                self.assertEqual(lockfolder.have_lock(path), bool(other.bids()), f"raised at place {number}")
                self.assertTrue(lockfolder.lock(path))
                lockfolder.unlock(path)
                self.assertEqual(other.bids(), [])


if __name__ == "__main__":
    unittest.main()
