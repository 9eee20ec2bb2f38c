"""The stand-in against the real package: LOCKFOLDER_OLD_PYTHON names an interpreter with `lockfolder` 1.0.2."""

import os
import signal
import sys
import threading
import traceback
import unittest
from pathlib import Path

from lockfolder_compat import lockfolder
from lockfolder_native import Forked

from support import GUARD, TestCase

OLD = os.environ.get("LOCKFOLDER_OLD_PYTHON")
PROGRAM = str(Path(__file__).with_name("compat_program.py"))


@unittest.skipUnless(OLD, "LOCKFOLDER_OLD_PYTHON is not set")
class CompatTest(TestCase):
    def run_as(self, which, how):
        return self.start(OLD if which == "old" else sys.executable, PROGRAM, which, self.path, how)

    def test_both_packages_give_the_same_results(self):
        stories = {}
        for which in "old", "new":
            process = self.run_as(which, "story")
            stories[which] = process.stdout.read().splitlines()
            self.assertEqual(process.wait(GUARD), 0)
            os.unlink(os.path.join(self.path, "eeeeeeee-0000-4000-8000-00000000000b.json"))
            self.assertGreater(len(stories[which]), 25)
        self.assertEqual(stories["new"], stories["old"])

    def test_each_package_excludes_both(self):
        for first in "old", "new":
            for second in "old", "new":
                holder = self.run_as(first, "hold")
                self.assertEqual(holder.stdout.readline(), "lock True\n")
                self.assertEqual(self.run_as(second, "try").stdout.read(), "lock False\n", (first, second))
                holder.kill()
                holder.wait()
                third = self.run_as(second, "try")
                self.assertEqual(third.stdout.read(), "lock True\n", (first, second))
                third.wait(GUARD)


class ForkTest(TestCase):
    def test_a_forked_child_may_leave_the_scope_of_its_parents_lock(self):
        program = """
import os, pathlib, sys
from lockfolder_compat import lockfolder

path = pathlib.Path(sys.argv[1])
lockfolder.setup()
assert lockfolder.lock(path)
child = 0
try:
    child = os.fork()
    if child == 0:
        sys.exit(7)
    print(os.waitpid(child, 0)[1] >> 8, lockfolder.have_lock(path))
except Exception as error:
    print("hidden by", repr(error))
finally:
    lockfolder.unlock(path)
print(lockfolder.have_lock(path))
"""
        process = self.start(sys.executable, "-c", program, self.path)
        self.assertEqual(process.stdout.read(), "7 True\nFalse\n")
        self.assertEqual(process.wait(GUARD), 0)

    def test_a_forked_child_does_not_have_the_lock_and_calls_setup(self):
        path = Path(self.path)
        lockfolder.setup()
        self.assertTrue(lockfolder.lock(path))
        inside, over = threading.Event(), threading.Event()

        def be_in_a_call():
            with lockfolder._this().guard:
                inside.set()
                over.wait(GUARD)

        thread = threading.Thread(target=be_in_a_call)
        thread.start()
        inside.wait(GUARD)
        child = os.fork()
        if child == 0:
            signal.alarm(GUARD)
            try:
                self.assertFalse(lockfolder.have_lock(path))
                for call in lockfolder.lock, lockfolder.in_use:
                    with self.assertRaises(Forked):
                        call(path)
                lockfolder.unlock(path)
                lockfolder.setup()
                self.assertTrue(lockfolder.in_use(path))
                self.assertFalse(lockfolder.lock(path))
                os._exit(0)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        over.set()
        thread.join()
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        self.assertTrue(lockfolder.have_lock(path))
        lockfolder.unlock(path)


if __name__ == "__main__":
    unittest.main()
