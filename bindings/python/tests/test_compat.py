"""The stand-in against the real package: LOCKFOLDER_OLD_PYTHON is an interpreter that has `lockfolder` 1.0.2."""

import os
import sys
import unittest
from pathlib import Path

from support import GUARD, TestCase

OLD = os.environ.get("LOCKFOLDER_OLD_PYTHON")
PROGRAM = str(Path(__file__).with_name("compat_program.py"))


@unittest.skipUnless(OLD, "LOCKFOLDER_OLD_PYTHON is not set")
class CompatTest(TestCase):
    def run_as(self, which, how):
        return self.start(OLD if which == "old" else sys.executable, PROGRAM, which, self.path, how)

    def test_both_tell_the_same_story(self):
        stories = {}
        for which in "old", "new":
            process = self.run_as(which, "story")
            stories[which] = process.stdout.read().splitlines()
            self.assertEqual(process.wait(GUARD), 0)
            os.unlink(os.path.join(self.path, "eeeeeeee-0000-4000-8000-00000000000b.json"))
            self.assertGreater(len(stories[which]), 25)
        self.assertEqual(stories["new"], stories["old"])

    def test_each_excludes_each(self):
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


if __name__ == "__main__":
    unittest.main()
