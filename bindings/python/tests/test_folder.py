import errno
import os
import pathlib
import pickle
import signal
import threading
import traceback
import unittest

import lockfolder_native
from lockfolder_native import (
    AlreadyHeld,
    BidState,
    Busy,
    Folder,
    Forked,
    Invalid,
    IOFailure,
    LockFolderError,
    Lost,
    NotHeld,
    Timeout,
    Unsafe,
)

from support import GUARD, TestCase


class FolderTest(TestCase):
    def test_lock_fence_unlock(self):
        with Folder(self.path) as folder:
            first = folder.lock(GUARD)
            self.assertTrue(first.holds())
            with self.assertRaises(AlreadyHeld):
                folder.lock(blocking=False)
            with self.assertRaises(AlreadyHeld):
                folder.lock()
            token = first.fence()
            first.unlock()
            self.assertFalse(first.holds())
            with folder.lock(blocking=False) as second:
                self.assertGreater(second.fence(), token)
                with self.assertRaises(NotHeld):
                    first.unlock()
                self.assertTrue(second.holds(), "an old Lock must not give back a new one")
            self.assertFalse(second.holds())

    def test_the_end_of_a_with_unlocks(self):
        with Folder(self.path) as folder, Folder(pathlib.Path(self.path)) as other:
            with folder.lock():
                self.assertTrue(other.in_use())
                with self.assertRaises(Busy):
                    other.lock(blocking=False)
            with self.assertRaises(ZeroDivisionError):
                with folder.lock():
                    1 / 0
            other.lock(blocking=False).unlock()
            lock = folder.lock()
            lock.unlock()
            folder.lock()
        with Folder(os.fsencode(self.path)) as folder:
            folder.lock(blocking=False)  # the close before has unlocked

    def test_a_busy_folder_says_who_has_it(self):
        child = self.holder()
        with Folder(self.path) as folder:
            with self.assertRaises(Busy) as busy:
                folder.lock(blocking=False)
            with self.assertRaises(TimeoutError) as timeout:
                folder.lock(timeout=0.01)
            for error in busy.exception, timeout.exception:
                self.assertIn(self.path, str(error))
                self.assertIn(f"PID {child.pid}", str(error))
            self.assertEqual((busy.exception.name, busy.exception.errno), ("LF_BUSY", None))
            self.assertIs(type(timeout.exception), Timeout)
            [bid] = folder.bids()
            self.assertEqual((bid.pid, bid.state), (child.pid, BidState.LIVE))
            self.assertTrue(bid.name.endswith(".json") and bid.host and bid.command and bid.created and bid.age >= 0)

    def test_a_killed_holder_is_passed_over(self):
        child = self.holder()
        with Folder(self.path) as folder:
            child.kill()
            with folder.lock(GUARD) as lock:
                self.assertTrue(lock.holds())

    def test_reap_stale(self):
        child = self.holder()
        with Folder(self.path) as folder:
            self.assertEqual(folder.reap_stale(), 0)
            child.kill()
            child.wait()
            self.assertEqual(folder.reap_stale(), 1)
            self.assertFalse(folder.in_use())
            self.assertEqual(folder.bids(), [])

    def test_a_deleted_bid_is_a_lost_lock(self):
        with Folder(self.path) as folder:
            lock = folder.lock()
            self.assertEqual(self.delete_bids(), 1)
            self.assertFalse(lock.holds())
            with self.assertRaises(Lost):
                lock.unlock()
            with self.assertRaises(NotHeld):
                lock.unlock()
            with self.assertRaises(Lost):
                with folder.lock():
                    self.delete_bids()

    def test_errors_of_open(self):
        missing = os.path.join(self.path, "a", "b")
        for options in {}, {"create": False}:
            with self.assertRaises(IOFailure) as failure:
                Folder(missing, **options)
            self.assertEqual(failure.exception.errno, errno.ENOENT)
            self.assertIn(missing, str(failure.exception))
        with self.assertRaises(Invalid):
            Folder("")
        for bad in "a\0b", 7, None:
            with self.assertRaises((ValueError, TypeError)):
                Folder(bad)
        os.chmod(self.path, 0o777)
        with self.assertRaises(Unsafe):
            Folder(self.path, private=True)

    def test_bad_arguments(self):
        with Folder(self.path) as folder:
            for bad in {"timeout": -1}, {"timeout": float("nan")}, {"timeout": 1, "blocking": False}:
                with self.assertRaises(ValueError):
                    folder.lock(**bad)

    def test_malformed_grace(self):
        open(os.path.join(self.path, "eeeeeeee-0000-4000-8000-000000000000.json"), "w").close()
        with Folder(self.path) as folder, self.assertRaises(Busy):
            folder.lock(blocking=False)
        with Folder(self.path, malformed_grace=0.0001, trust_filesystem=True) as folder:
            folder.lock(GUARD)

    def test_a_closed_folder(self):
        folder = Folder(self.path)
        lock = folder.lock()
        folder.close()
        folder.close()
        for call in folder.lock, folder.bids, lock.holds, lock.unlock:
            with self.assertRaises(Invalid):
                call()

    def test_a_forked_child(self):
        with Folder(self.path) as folder, folder.lock() as lock:
            child = os.fork()
            if child == 0:
                try:
                    lock.holds()
                except Forked:
                    folder.close()
                    os._exit(0)
                finally:
                    os._exit(1)
            self.assertEqual(os.waitpid(child, 0)[1], 0)
            self.assertTrue(lock.holds())

    def test_a_forked_child_may_leave_the_scope_of_its_parents_lock(self):
        program = """
import os, sys
from lockfolder_native import Folder

def work(folder, ending):
    with folder.lock(timeout=60) as lock:
        child = os.fork()
        if child == 0:
            if ending == "exit":
                sys.exit(7)
            if ending == "close":
                folder.close()
                sys.exit(7)
            if ending == "raise":
                raise KeyError("the child's own")
            return
        print(os.waitpid(child, 0)[1] >> 8, lock.holds())

parent = os.getpid()
try:
    with Folder(sys.argv[1]) as folder:
        work(folder, sys.argv[2])
except KeyError:
    sys.exit(7)
except Exception as error:
    print("hidden by", repr(error))
if os.getpid() != parent:
    sys.exit(7)
"""
        for ending in "exit", "close", "raise", "return":
            process = self.python(program, self.path, ending)
            self.assertEqual(process.stdout.read(), "7 True\n", ending)
            self.assertEqual(process.wait(GUARD), 0)

    def test_a_forked_child_does_not_wait_for_threads_of_its_parent(self):
        folder = Folder(self.path)
        self.addCleanup(folder.close)
        inside, over = threading.Event(), threading.Event()

        def be_in_a_call():
            with folder._handle.guarded():
                inside.set()
                over.wait(GUARD)

        thread = threading.Thread(target=be_in_a_call)
        thread.start()
        inside.wait(GUARD)
        child = os.fork()
        if child == 0:
            signal.alarm(GUARD)
            try:
                for call in folder.bids, folder.lock, folder.cancel:
                    with self.assertRaises(Forked):
                        call()
                folder.close()
                os._exit(0)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        over.set()
        thread.join()
        self.assertEqual(os.waitpid(child, 0)[1], 0)

    def test_every_status_has_its_exception(self):
        classes = LockFolderError.__subclasses__()
        self.assertEqual(sorted(cls.status for cls in classes), list(range(-9, 0)) + [1, 2, 3])
        for cls in classes:
            error = pickle.loads(pickle.dumps(cls("why", 2)))
            self.assertEqual((type(error), str(error), error.errno), (cls, "why", 2))
            self.assertNotEqual(error.name, "LF_UNKNOWN")
        self.assertRegex(lockfolder_native.version(), r"^\d+\.\d+\.\d+$")


if __name__ == "__main__":
    unittest.main()
