import os
import signal
import threading
import time
import unittest

from lockfolder_native import Cancelled, Folder
from lockfolder_native._lock import Lock

from support import GUARD, TestCase

INTERRUPTED = """
import signal, sys
from lockfolder_native import Folder
with Folder(sys.argv[1]) as folder:
    try:
        print("waiting", flush=True)
        folder.lock()
    except KeyboardInterrupt:
        print("interrupted", [bid.state.name for bid in folder.bids()], flush=True)
"""

# A handler may run while a print is flushing, and a second print would then fail. So handlers write past the buffer.
HANDLED = """
import os, signal, sys
from lockfolder_native import Folder
signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b"handled\\n"))
with Folder(sys.argv[1]) as folder:
    print("waiting", flush=True)
    with folder.lock():
        print("held", flush=True)
"""

FORKED_IN_A_HANDLER = """
import os, signal, sys
from lockfolder_native import Folder, Forked

def fork(*_):
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(int(sys.argv[3]))  # against hanging
        if sys.argv[2] == "raise":
            sys.exit(7)
        return
    os.write(1, b"child %d\\n" % (os.waitpid(child, 0)[1] >> 8))
    raise KeyboardInterrupt

with Folder(sys.argv[1]) as folder:
    try:
        signal.signal(signal.SIGALRM, fork)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        folder.lock()
    except Forked:
        sys.exit(7)
    except KeyboardInterrupt:
        print("interrupted", [bid.state.name for bid in folder.bids()], flush=True)
"""


class WaitTest(TestCase):
    def test_ctrl_c_ends_a_wait(self):
        self.holder()
        for pause in 0, 0.001, 0.01, 0.2:  # the signal may come before the wait begins, or after
            child = self.python(INTERRUPTED, self.path)
            self.assertEqual(child.stdout.readline(), "waiting\n")
            time.sleep(pause)
            child.send_signal(signal.SIGINT)
            self.assertEqual(child.stdout.readline(), "interrupted ['LIVE']\n")
            self.assertEqual(child.wait(GUARD), 0)

    def test_ctrl_c_ends_a_wait_in_whichever_thread_it_arrives(self):
        """The kernel gives a signal that came while a process was stopped to any thread of the process."""
        self.holder()
        for _ in range(20):
            child = self.python(INTERRUPTED, self.path)
            self.assertEqual(child.stdout.readline(), "waiting\n")
            while not os.path.exists(os.path.join(self.path, ".lockfolder", "queue")):
                time.sleep(0.001)  # until it stands in line
            for number in signal.SIGSTOP, signal.SIGINT, signal.SIGCONT:
                child.send_signal(number)
            said, _ = child.communicate(timeout=GUARD)
            self.assertEqual(said, "interrupted ['LIVE']\n")

    def test_a_wait_has_no_thread_of_its_own(self):
        self.holder()
        child = self.python(INTERRUPTED, self.path)
        while not os.path.exists(os.path.join(self.path, ".lockfolder", "queue")):
            time.sleep(0.001)  # until it stands in line
        self.assertEqual(len(os.listdir(f"/proc/{child.pid}/task")), 1)

    def test_a_handler_that_returns_does_not_end_a_wait(self):
        holder = self.holder()
        child = self.python(HANDLED, self.path)
        self.assertEqual(child.stdout.readline(), "waiting\n")
        for _ in range(2):
            child.send_signal(signal.SIGUSR1)
            self.assertEqual(child.stdout.readline(), "handled\n")
        holder.kill()
        self.assertEqual(child.stdout.readline(), "held\n")
        self.assertEqual(child.wait(GUARD), 0)

    def test_an_interrupted_wait_never_holds(self):
        """The lock is free. The signal comes at a different moment in each run."""

        class Interrupt(Exception):
            pass

        def interrupt(*_):
            raise Interrupt

        before = signal.signal(signal.SIGALRM, interrupt)
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        with Folder(self.path) as folder, Folder(self.path) as other:
            for n in range(200):
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0.00002 * (n + 1))
                    try:
                        with folder.holding(GUARD):
                            pass
                    finally:
                        signal.setitimer(signal.ITIMER_REAL, 0)
                except Interrupt:
                    pass
                self.assertEqual(other.bids(), [])

    def test_giving_up_a_wait_that_has_won_unlocks(self):
        with Folder(self.path) as folder:
            lock = Lock(folder._handle)
            lock._take(-1)
            self.assertEqual(len(folder.bids()), 1)
            lock._give_up()
            self.assertEqual(folder.bids(), [])

    def test_a_forked_child_leaves_a_wait_of_its_parent(self):
        """A signal's handler forks in the middle of a wait. The wait is the parent's alone."""
        self.holder()
        for ending in "raise", "return":
            child = self.python(FORKED_IN_A_HANDLER, self.path, ending, str(GUARD))
            said, _ = child.communicate(timeout=2 * GUARD)
            self.assertEqual(said, "child 7\ninterrupted ['LIVE']\n", ending)

    def in_thread(self, folder):
        outcome = []

        def run():
            try:
                outcome.append(folder.lock())
            except Exception as error:
                outcome.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread, outcome

    def test_cancel_from_another_thread(self):
        self.holder()
        with Folder(self.path) as folder:
            thread, outcome = self.in_thread(folder)
            while thread.is_alive():
                folder.cancel()
                thread.join(0.01)
            self.assertIsInstance(outcome[0], Cancelled)
            self.assertIn("cancelled", str(outcome[0]))
            self.assertIn(self.path, str(outcome[0]))

    def test_close_ends_a_wait(self):
        self.holder()
        folder = Folder(self.path)
        thread, outcome = self.in_thread(folder)
        while not os.path.exists(os.path.join(self.path, ".lockfolder", "queue")):
            time.sleep(0.001)  # until it stands in line
        folder.close()
        thread.join(GUARD)
        self.assertIsInstance(outcome[0], Cancelled)

    def test_threads_exclude_each_other(self):
        inside = 0

        def run():
            nonlocal inside
            with Folder(self.path) as folder:
                for _ in range(5):
                    with folder.lock(GUARD):
                        before = inside
                        time.sleep(0.001)
                        inside = before + 1

        threads = [threading.Thread(target=run) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(inside, 40)

    def test_a_wait_does_not_stop_other_threads(self):
        self.holder()
        with Folder(self.path) as folder:
            thread, _ = self.in_thread(folder)
            self.assertEqual(sum(range(100000)), 4999950000)
            self.assertEqual(len(folder.bids()), 1)
            while thread.is_alive():
                folder.cancel()
                thread.join(0.01)


if __name__ == "__main__":
    unittest.main()
