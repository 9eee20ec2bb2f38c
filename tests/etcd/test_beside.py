"""etcd's own lock and ours on one prefix."""

import os
import tempfile
import unittest

from case import GUARD, Case, setUpModule, tearDownModule  # first: it says where the other modules are
import cluster
from cluster import wait_for

import lockfolder_native as lf


class Beside(Case):
    """etcd's own lock on the same prefix."""

    def etcdctl(self):
        """Says `got` when it has the lock, and keeps it until its file is gone: etcdctl passes no input on."""
        descriptor, name = tempfile.mkstemp(prefix="lockfolder-etcd-")
        os.close(descriptor)
        self.addCleanup(lambda: os.path.exists(name) and os.unlink(name))
        full = ["etcdctl", "--endpoints", self.etcd.endpoint, "lock", "--ttl", "5", self.prefix, "--",
                "sh", "-c", 'echo got; while [ -e "$0" ]; do sleep 0.02; done', name]
        return self.start(*full, env=cluster.ETCDCTL), name

    def test_etcdctl_and_we_stand_in_one_line(self):
        lock = self.folder().lock()
        first, first_file = self.etcdctl()
        wait_for(lambda: len(self.keys()) == 2, "etcdctl has no key")
        second = self.in_thread(lambda: self.folder().lock(timeout=GUARD))
        wait_for(lambda: len(self.keys()) == 3, "no key")
        third, third_file = self.etcdctl()
        wait_for(lambda: len(self.keys()) == 4, "etcdctl has no key")
        lock.unlock()
        self.assertEqual(first.stdout.readline(), "got\n")
        with self.assertRaises(lf.Busy) as raised:
            self.folder().lock(blocking=False)
        self.assertIn("etcdctl lock", str(raised.exception))
        self.assertEqual(second, [])
        os.unlink(first_file)
        wait_for(lambda: second, "not served")
        self.assertEqual(first.wait(GUARD), 0)
        self.assertEqual(len(self.keys()), 2)
        second[0].unlock()
        self.assertEqual(third.stdout.readline(), "got\n")
        with self.assertRaises(lf.Busy):
            self.folder().lock(blocking=False)
        os.unlink(third_file)
        self.assertEqual(third.wait(GUARD), 0)


if __name__ == "__main__":
    unittest.main()
