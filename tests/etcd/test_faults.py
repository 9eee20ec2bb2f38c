"""A proxy between a claimant and etcd spoils requests."""

import time
import unittest

from case import GUARD, Case, setUpModule, tearDownModule  # first: it says where the other modules are
from cluster import wait_for

import lockfolder_native as lf


def renews(lock):
    """A renewal that fails is tried again, as the header says."""
    try:
        lock.renew()
        return True
    except lf.IOFailure:
        return False


class Spoiled(Case):
    PATHS = {"lease/grant", "kv/txn", "lease/keepalive", "kv/range", "lease/revoke"}

    def test_each_request_of_a_lock_with_each_fault(self):
        """Each lock is granted or refused as if nothing had happened, within the time of the caller, and leaves no key."""
        for fault in ("reset before", "reset after", "503", "garbage", "cut"):
            for path in sorted(self.PATHS):
                for times in (1, 3):
                    with self.subTest(fault=fault, path=path, times=times):
                        proxy, folder = self.proxy(lease=5)
                        proxy.spoil(path, fault, times)
                        lock = folder.lock(timeout=GUARD)
                        self.assertTrue(lock.holds())
                        with self.assertRaises(lf.Busy):
                            self.folder().lock(blocking=False)
                        wait_for(lambda: renews(lock), "no renewal")
                        proxy.spoil(path, fault, times)
                        lock.unlock()
                        self.assertEqual(self.keys(), [])
                        # What is done late must not come back as a key of nobody.
                        self.folder().lock(blocking=False).unlock()
                        folder.close()

    def test_each_request_of_a_wait_with_each_fault(self):
        for fault in ("reset before", "reset after", "503", "garbage", "cut"):
            for path in ("lease/grant", "kv/txn", "watch"):
                with self.subTest(fault=fault, path=path):
                    lock = self.folder().lock()
                    proxy, folder = self.proxy(lease=5)
                    if (path, fault) not in (("watch", "reset after"), ("watch", "cut")):  # a watch has no whole answer
                        proxy.spoil(path, fault, 2)
                    waited = self.in_thread(lambda: folder.lock(timeout=GUARD))
                    wait_for(lambda: len(self.keys()) == 2 and "watch" in proxy.seen, "no key, or no watch")
                    lock.unlock()
                    wait_for(lambda: waited, "not served")
                    waited[0].unlock()
                    folder.close()
                    self.assertEqual(self.keys(), [])

    def test_an_answer_that_is_later_than_the_caller_waits(self):
        for path in ("lease/grant", "kv/txn"):
            with self.subTest(path=path):
                proxy, folder = self.proxy(lease=5)
                proxy.spoil(path, "delayed", 9)
                began = time.monotonic()
                with self.assertRaises((lf.Timeout, lf.IOFailure)) as raised:
                    folder.lock(timeout=0.5)
                took = time.monotonic() - began
                self.assertIn(proxy.endpoint, str(raised.exception))
                self.assertLess(took, 2.5)  # the time-out of the caller, and the cleaning; not the delay
                folder.close()
                with self.folder().lock(timeout=GUARD):
                    pass

    def test_a_delayed_post_brings_no_key_of_nobody(self):
        proxy, folder = self.proxy(lease=5)
        proxy.delay = 0.7
        other = self.folder().lock()
        proxy.spoil("kv/txn", "delayed", 1)
        with self.assertRaises((lf.Timeout, lf.IOFailure)):
            folder.lock(timeout=0.3)
        other.unlock()
        time.sleep(1)
        self.folder().lock(blocking=False).unlock()

    def test_an_unlock_that_can_not_reach_etcd(self):
        proxy, folder = self.proxy(lease=5)
        lock = folder.lock()
        proxy.close()
        with self.assertRaises(lf.IOFailure) as raised:
            lock.unlock()
        self.assertIn(proxy.endpoint, str(raised.exception))
        proxy.reopen()
        try:
            lock.unlock()
        except lf.Lost:
            pass
        wait_for(lambda: not self.keys(), "the key stays")

    def test_requests_per_lock(self):
        """A cycle is one transaction to lock and one to unlock; a hand-over wakes one waiter, and costs it one look."""
        proxy, folder = self.proxy()
        folder.lock(blocking=False).unlock()
        proxy.seen.clear()
        for _ in range(10):
            folder.lock(blocking=False).unlock()
        self.assertEqual(proxy.seen, ["kv/txn"] * 20)
        lock = self.folder().lock()
        waiters = [self.proxy() for _ in range(3)]
        waited = []
        for count, (_, waiter) in enumerate(waiters):
            waited.append(self.in_thread(lambda waiter=waiter: waiter.lock(timeout=GUARD)))
            wait_for(lambda: len(self.keys()) == count + 2, "no key")
        wait_for(lambda: all("watch" in it.seen for it, _ in waiters), "no watch")
        for it, _ in waiters:
            self.assertEqual([path for path in it.seen if path not in ("lease/keepalive", "kv/range")],
                             ["lease/grant", "kv/txn", "kv/txn", "watch"])
        lock.unlock()
        wait_for(lambda: waited[0], "not served")
        looks = [it.seen.count("kv/txn") for it, _ in waiters]
        self.assertEqual(looks, [3, 2, 2])
        for result in waited:
            wait_for(lambda: result, "not served")
            result[0].unlock()


if __name__ == "__main__":
    unittest.main()
