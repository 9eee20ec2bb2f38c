"""What the tests on one real etcd share. A test file imports `setUpModule` and `tearDownModule`, so each file has an etcd of its own.

LOCKFOLDER_LIBRARY names a library with etcd, LOCKFOLDER the command. `tests/etcd/run` builds both, and runs all files.
"""

import os
import signal
import subprocess
import sys
import threading
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../../bindings/python/src")]

from cluster import One, keys
from proxy import Proxy

from lockfolder_native import Folder

ETCD = None
GUARD = 60  # seconds; ends a test that hangs, and measures nothing
COMMAND = os.environ["LOCKFOLDER"]


def setUpModule():
    global ETCD
    ETCD = One()


def tearDownModule():
    ETCD.close()


class Case(unittest.TestCase):
    number = 0

    def setUp(self):
        Case.number += 1
        self.etcd = ETCD
        self.prefix = f"test-{Case.number}"
        self.url = f"etcd://{self.etcd.endpoint}/{self.prefix}"

    def tearDown(self):
        self.doCleanups()
        self.assertEqual(keys(self.etcd.endpoint, self.prefix + "/"), [], "keys are left")

    def folder(self, url=None, **options):
        folder = Folder(url or self.url, **options)
        self.addCleanup(folder.close)
        return folder

    def at(self, prefix):
        return f"etcd://{self.etcd.endpoint}/{prefix}"

    def keys(self, prefix=None):
        return keys(self.etcd.endpoint, (prefix or self.prefix) + "/")

    def start(self, *command, **options):
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True, **options)
        self.addCleanup(self.end, process)
        return process

    def end(self, process):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdin.close()
        process.stdout.close()

    def in_thread(self, call):
        """The result of a call that waits: a list that gets it."""
        result = []

        def run():
            try:
                result.append(call())
            except Exception as error:
                result.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        self.addCleanup(thread.join)
        return result

    def proxy(self, prefix=None, **options):
        proxy = Proxy(self.etcd.endpoint)
        self.addCleanup(proxy.close)
        return proxy, self.folder(f"etcd://{proxy.endpoint}/{prefix or self.prefix}", **options)
