"""Shared by the tests: temporary folders, and holders in separate processes."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest

GUARD = 60  # seconds; ends a test that hangs, and measures nothing

HOLD = """
import sys
from lockfolder_native import Folder
with Folder(sys.argv[1]) as folder, folder.lock(blocking=False):
    print("held", flush=True)
    sys.stdin.read()
"""


class TestCase(unittest.TestCase):
    def setUp(self) -> None:
        self.path = tempfile.mkdtemp(prefix="lockfolder-python-")
        self.addCleanup(shutil.rmtree, self.path)

    def start(self, *command: str, **options) -> subprocess.Popen:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)
        self.addCleanup(self.end, process)
        return process

    def end(self, process: subprocess.Popen) -> None:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()

    def python(self, program: str, *arguments: str) -> subprocess.Popen:
        return self.start(sys.executable, "-c", program, *arguments)

    def holder(self) -> subprocess.Popen:
        process = self.python(HOLD, self.path)
        self.assertEqual(process.stdout.readline(), "held\n")
        return process

    def delete_bids(self) -> int:
        names = [name for name in os.listdir(self.path) if name.endswith(".json")]
        for name in names:
            os.unlink(os.path.join(self.path, name))
        return len(names)
