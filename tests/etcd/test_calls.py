"""One real etcd: what each call promises there."""

import json
import os
import select
import subprocess
import sys
import time
import unittest

from case import COMMAND, GUARD, HERE, Case, setUpModule, tearDownModule  # first: it says where the other modules are
import cluster
from cluster import wait_for

import lockfolder_native as lf
from lockfolder_native import Folder


class Calls(Case):
    def test_a_lock_excludes_and_is_shown(self):
        ours, theirs = self.folder(), self.folder()
        lock = ours.lock(blocking=False)
        self.assertTrue(lock.holds())
        with self.assertRaises(lf.Busy) as raised:
            theirs.lock(blocking=False)
        self.assertIn(str(os.getpid()), str(raised.exception))
        self.assertIn(f"etcd://{self.etcd.endpoint}/{self.prefix}", str(raised.exception))
        (key, value, lease, created), = self.keys()
        self.assertEqual(key, f"{self.prefix}/{lease:x}")
        self.assertEqual(json.loads(value)["PID"], os.getpid())
        self.assertEqual(lock.fence(), created)
        bid, = theirs.bids()
        self.assertEqual((bid.pid, theirs.in_use(), ours.in_use()), (os.getpid(), True, False))
        self.assertTrue(0 < lock.valid_for() <= 20)
        lock.renew()
        lock.unlock()
        self.assertEqual(self.keys(), [])
        second = theirs.lock(blocking=False)
        self.assertGreater(second.fence(), created)
        second.unlock()

    def test_a_lock_wait_that_is_over_leaves_nothing(self):
        lock = self.folder().lock()
        waiter = self.folder()
        with self.assertRaises(lf.Timeout) as raised:
            waiter.lock(timeout=0.3)
        self.assertIn(str(os.getpid()), str(raised.exception))
        self.assertEqual(len(self.keys()), 1)
        lock.unlock()

    def test_waiters_are_served_in_order(self):
        lock = self.folder().lock()
        order, results = [], []
        for number in range(4):
            folder = self.folder()

            def wait(folder=folder, number=number):
                with folder.lock(timeout=GUARD):
                    order.append(number)

            results.append(self.in_thread(wait))
            wait_for(lambda: len(self.keys()) == number + 2, "the waiter has no key")
        lock.unlock()
        wait_for(lambda: all(results), "the waiters are not served")
        self.assertEqual((order, results), ([0, 1, 2, 3], [[None]] * 4))

    def test_a_waiter_whose_predecessor_gives_up_waits_for_the_holder(self):
        lock = self.folder().lock()
        middle, last = self.folder(), self.folder()
        given_up = self.in_thread(lambda: middle.lock())
        wait_for(lambda: len(self.keys()) == 2, "no key")
        waited = self.in_thread(lambda: last.lock(timeout=GUARD))
        wait_for(lambda: len(self.keys()) == 3, "no key")
        while not given_up:
            middle.cancel()
            time.sleep(0.01)
        self.assertIsInstance(given_up[0], lf.Cancelled)
        time.sleep(0.2)
        self.assertEqual(waited, [])
        lock.unlock()
        wait_for(lambda: waited, "the last is not served")
        waited[0].unlock()

    def test_a_dead_holder_is_passed_over_when_its_lease_is_over(self):
        program = "import sys; from lockfolder_native import Folder; f = Folder(sys.argv[1], lease=5); l = f.lock(); print('held', flush=True); sys.stdin.read()"
        environment = dict(os.environ, PYTHONPATH=os.path.join(HERE, "../../bindings/python/src"))
        holder = self.start(sys.executable, "-c", program, self.url, env=environment)
        self.assertEqual(holder.stdout.readline(), "held\n")
        began = time.monotonic()
        holder.kill()
        self.folder().lock(timeout=GUARD).unlock()
        self.assertGreater(time.monotonic() - began, 1)

    def test_a_lease_is_renewed_by_the_thread_and_by_the_program(self):
        ours, theirs = self.folder(lease=5), self.folder(f"{self.url}-2", lease=5, no_thread=True)
        first, second = ours.lock(), theirs.lock()
        for _ in range(9):
            time.sleep(0.8)
            second.renew()
            self.assertTrue(first.holds() and second.holds())
        self.assertGreater(first.valid_for(), 1.5)
        first.unlock()
        second.unlock()

    def test_a_holder_that_does_not_renew_loses_the_lock_before_another_gets_it(self):
        ours, theirs = self.folder(lease=5, no_thread=True), self.folder()
        lock = ours.lock()
        lost_fd = ours.lost.fileno()
        waited = self.in_thread(lambda: theirs.lock(timeout=GUARD))
        self.assertEqual(select.select([lost_fd], [], [], GUARD)[0], [lost_fd])
        self.assertEqual(waited, [], "another has the lock before we know that we lost it")
        self.assertFalse(lock.holds())
        with self.assertRaises(lf.Lost):
            lock.unlock()
        wait_for(lambda: waited, "the other does not get the lock")
        waited[0].unlock()

    def test_a_key_that_somebody_deletes_is_a_loss(self):
        ours = self.folder(lease=5)
        for way in (lambda key: cluster.delete(self.etcd.endpoint, key[0]), lambda key: cluster.revoke(self.etcd.endpoint, key[2])):
            lock = ours.lock()
            way(self.keys()[0])
            self.assertFalse(lock.holds())
            with self.assertRaises(lf.Lost):
                lock.unlock()
        lock = ours.lock()
        cluster.delete(self.etcd.endpoint, self.keys()[0][0])
        self.assertEqual(select.select([ours.lost.fileno()], [], [], GUARD)[0], [ours.lost.fileno()], "the thread does not notice")
        with self.assertRaises(lf.Lost):
            lock.unlock()

    def test_a_waiter_whose_key_is_deleted_stands_in_line_again(self):
        lock = self.folder().lock()
        waited = self.in_thread(lambda: self.folder().lock(timeout=GUARD))
        wait_for(lambda: len(self.keys()) == 2, "no key")
        before = self.keys()[1][3]
        cluster.delete(self.etcd.endpoint, self.keys()[1][0])
        wait_for(lambda: len(self.keys()) == 2 and self.keys()[1][3] > before, "no key again")
        lock.unlock()
        wait_for(lambda: waited, "not served")
        waited[0].unlock()

    def test_a_compaction_loses_no_hand_over(self):
        holder = self.folder()
        proxy, waiter = self.proxy()
        lock = holder.lock()
        waited = self.in_thread(lambda: waiter.lock(timeout=GUARD))
        wait_for(lambda: "watch" in proxy.seen, "no watch")
        time.sleep(0.2)
        proxy.close()  # what happens now is seen by nobody
        lock.unlock()
        with self.folder(self.url + "-other").lock():
            pass
        cluster.compact(self.etcd.endpoint)
        proxy.reopen()
        wait_for(lambda: waited, "not served")
        waited[0].unlock()

    def test_a_child_is_refused_and_the_parent_keeps_its_lock(self):
        folder = self.folder(lease=5)
        lock = folder.lock()
        child = os.fork()
        if child == 0:
            try:
                lock.holds()
                os._exit(1)
            except lf.Forked:
                folder.close()
                os._exit(0)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        time.sleep(2)
        self.assertTrue(lock.holds())
        lock.unlock()

    def test_waits_of_event_loops(self):
        import asyncio
        lock = self.folder().lock()
        folder = self.folder()

        async def wait():
            async with folder.holding(timeout=GUARD):
                return True

        waited = self.in_thread(lambda: asyncio.run(wait()))
        wait_for(lambda: len(self.keys()) == 2, "no key")
        lock.unlock()
        wait_for(lambda: waited, "not served")
        self.assertEqual(waited, [True])

    def test_what_makes_no_sense_there_says_so(self):
        for options in ({"private": True}, {"trust_filesystem": True}, {"malformed_grace": 1}):
            with self.assertRaises(lf.Unsupported):
                Folder(self.url, **options)
        self.assertEqual(self.folder().reap_stale(), 0)

    def test_the_command(self):
        environment = dict(os.environ)
        ran = subprocess.run([COMMAND, "run", self.url, COMMAND, "ls", self.url], text=True, capture_output=True, env=environment)
        self.assertIn("held", ran.stdout, ran.stderr)
        lock = self.folder().lock()
        ran = subprocess.run([COMMAND, "run", "-n", self.url, "true"], text=True, capture_output=True)
        self.assertEqual(ran.returncode, 1, ran.stderr)
        lock.unlock()


if __name__ == "__main__":
    unittest.main()
