"""A proxy between a claimant and etcd spoils requests: each kind of request, with each fault, once and for long."""

import time
import unittest
from concurrent.futures import ThreadPoolExecutor

from case import GUARD, Case, setUpModule, tearDownModule  # first: it says where the other modules are
import cluster
from cluster import wait_for
from proxy import DONE, UNDONE

import lockfolder_native as lf


def renews(lock):
    """A renewal that fails is tried again, as the header says."""
    try:
        lock.renew()
        return True
    except lf.IOFailure:
        return False


class Once(Case):
    """A fault passes: each lock is granted or refused as if nothing had happened, and leaves no key."""

    PATHS = ("kv/range", "kv/txn", "lease/grant", "lease/keepalive", "lease/revoke")

    def each(self, faults, test):
        """The faults at the same time, because most of a test's time is waiting. Each has a prefix of its own."""
        with ThreadPoolExecutor(len(faults)) as pool:
            for fault, ended in [(fault, pool.submit(test, fault, f"{self.prefix}/{at}")) for at, fault in enumerate(faults)]:
                with self.subTest(fault=fault):
                    ended.result()

    def test_each_request_of_a_lock_with_each_fault(self):
        def test(fault, prefix):
            for path in self.PATHS:
                for times in (1, 3):
                    proxy, folder = self.proxy(prefix, lease=5)
                    other = self.folder(self.at(prefix))
                    proxy.spoil(path, fault, times)
                    lock = folder.lock(timeout=GUARD)
                    self.assertTrue(lock.holds())
                    with self.assertRaises(lf.Busy):
                        other.lock(blocking=False)
                    wait_for(lambda: renews(lock), "no renewal")
                    self.assertEqual(len(folder.bids()), 1)
                    proxy.spoil(path, fault, times)
                    if path == "kv/txn" and fault in DONE:
                        # At the second try the key is gone, and nothing tells our deletion from another's.
                        with self.assertRaisesRegex(lf.Lost, "did not arrive"):
                            lock.unlock()
                    else:
                        lock.unlock()
                    self.assertEqual(self.keys(prefix), [])
                    # What is done late must not come back as a key of nobody.
                    other.lock(blocking=False).unlock()
                    folder.lock(timeout=GUARD).unlock()
                    folder.close()

        self.each([fault for fault in (*UNDONE, *DONE) if fault != "delayed"], test)

    def test_each_request_of_a_wait_with_each_fault(self):
        def test(fault, prefix):
            for path in ("lease/grant", "kv/txn", "watch"):
                holder = self.folder(self.at(prefix))
                lock = holder.lock()
                proxy, folder = self.proxy(prefix, lease=5)
                if path != "watch" or fault in UNDONE:  # a watch has no whole answer
                    proxy.spoil(path, fault, 2)
                waited = self.in_thread(lambda: folder.lock(timeout=GUARD))
                wait_for(lambda: len(self.keys(prefix)) == 2 and "watch" in proxy.seen, "no key, or no watch")
                lock.unlock()
                wait_for(lambda: waited, "not served")
                waited[0].unlock()
                folder.close()
                self.assertEqual(self.keys(prefix), [])

        self.each([fault for fault in (*UNDONE, *DONE) if fault != "delayed"], test)

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


class Lasting(Case):
    """A fault that lasts longer than the call may take. Then it passes, and the next call works."""

    each = Once.each

    def test_each_fault(self):
        self.each((*UNDONE, *DONE), self.lasting)

    def lasting(self, fault, prefix):
        proxy, folder = self.proxy(prefix, lease=5, no_thread=True)
        other = self.folder(self.at(prefix))

        def spoil(path, error, call):
            with proxy.lock:
                proxy.faults = [[path, fault]] * 1000
            with self.assertRaises(error) as raised:
                call()
            self.assertIn(proxy.endpoint, str(raised.exception))
            with proxy.lock:
                proxy.faults = []

        for path in ("lease/grant", "kv/txn"):
            spoil(path, (lf.Timeout, lf.IOFailure), lambda: folder.lock(timeout=0.5))
            # A post that was done is undone, at the latest when its lease is over.
            wait_for(lambda: not self.keys(prefix), "the key stays")
            other.lock(blocking=False).unlock()
        for path, call in (("lease/keepalive", lambda: lock.renew()), ("kv/range", lambda: lock.renew()),
                           ("kv/range", folder.bids), ("kv/txn", lambda: lock.holds())):
            lock = folder.lock()
            spoil(path, lf.IOFailure, call)
            # A call of 5 s takes longer than the lease allows, and nothing renews it meanwhile.
            if lock.holds():
                with self.assertRaises(lf.Busy):
                    other.lock(blocking=False)
                lock.unlock()
            else:
                with self.assertRaises(lf.Lost):
                    lock.unlock()
            wait_for(lambda: not self.keys(prefix), "the key stays")
        folder.close()

        proxy, folder = self.proxy(prefix, lease=30)
        lock = folder.lock()
        spoil("kv/txn", lf.IOFailure, lock.unlock)
        if fault == "no leader":  # etcd says that it has not done it, so the lock is what it was
            self.assertTrue(lock.holds())
            with self.assertRaises(lf.Busy):
                other.lock(blocking=False)
            lock.unlock()
        else:
            self.assertFalse(lock.holds())
            with self.assertRaises(lf.Lost):
                lock.unlock()
        self.assertEqual(self.keys(prefix), [])
        other.lock(blocking=False).unlock()

        holder = other.lock()
        with proxy.lock:
            proxy.faults = [["watch", fault]] * 1000 if fault in UNDONE else []
        waited = self.in_thread(lambda: folder.lock(timeout=GUARD))
        wait_for(lambda: "watch" in proxy.seen, "no watch")
        holder.unlock()
        wait_for(lambda: waited, "without a watch the waiter does not look")
        waited[0].unlock()
        with proxy.lock:
            proxy.faults = [["lease/revoke", fault]] * 1000
        folder.close()  # it has only half a second, and says nothing
        self.assertEqual(self.keys(prefix), [])

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


class Refused(Case):
    """Nobody listens when a request of this kind comes next. So etcd has certainly not got it."""

    def refused(self, proxy, count, call, error=lf.IOFailure):
        proxy.seen.clear()
        proxy.refuse_after(count)
        with self.assertRaises(error) as raised:
            call()
        self.assertEqual(len(proxy.seen), count)
        if error is lf.IOFailure:
            self.assertEqual(raised.exception.errno, 111)
            self.assertIn(proxy.endpoint, str(raised.exception))
            self.assertIn("refused", str(raised.exception))
        seen = list(proxy.seen)
        proxy.reopen()
        return seen

    def test_the_grant_of_a_lease(self):
        for call in ({"timeout": 0.5}, {"blocking": False}):
            proxy, folder = self.proxy()
            self.assertEqual(self.refused(proxy, 0, lambda: folder.lock(**call)), [])
            folder.lock(blocking=False).unlock()

    def test_the_post_of_a_key(self):
        proxy, folder = self.proxy()
        self.assertEqual(self.refused(proxy, 1, lambda: folder.lock(timeout=0.5)), ["lease/grant"])
        self.assertEqual(self.keys(), [])
        proxy.seen.clear()
        folder.lock(blocking=False).unlock()
        self.assertEqual(proxy.seen, ["kv/txn"] * 2)  # there was no doubt, so the lease serves

    def test_the_post_behind_a_holder(self):
        lock = self.folder().lock()
        proxy, folder = self.proxy()
        self.assertEqual(self.refused(proxy, 2, lambda: folder.lock(timeout=0.5)), ["lease/grant", "kv/txn"])
        self.assertEqual(len(self.keys()), 1)
        lock.unlock()
        folder.lock(blocking=False).unlock()

    def test_the_watch(self):
        lock = self.folder().lock()
        proxy, folder = self.proxy(lease=5)
        # The waiter can't take its key away either. That goes when its lease is over.
        self.assertEqual(self.refused(proxy, 3, lambda: folder.lock(timeout=0.5), lf.Timeout), ["lease/grant", "kv/txn", "kv/txn"])
        wait_for(lambda: len(self.keys()) == 1, "the waiter's key stays")
        proxy.seen.clear()
        proxy.refuse_after(2)  # the lease, or the post; the watch, or the post
        waited = self.in_thread(lambda: folder.lock(timeout=GUARD))
        wait_for(lambda: proxy.listener is None, "no request")
        proxy.reopen()
        wait_for(lambda: len(self.keys()) == 2, "no key")
        lock.unlock()
        wait_for(lambda: waited, "not served")
        waited[0].unlock()

    def test_the_look_of_a_waiter_that_was_told(self):
        lock = self.folder().lock()
        proxy, folder = self.proxy(lease=5)
        proxy.refuse_after(4)
        waited = self.in_thread(lambda: folder.lock(timeout=GUARD))
        wait_for(lambda: "watch" in proxy.seen, "no watch")
        time.sleep(0.2)  # until etcd watches
        lock.unlock()
        time.sleep(0.5)
        self.assertEqual(waited, [], "granted without a look")
        proxy.reopen()
        wait_for(lambda: waited, "not served")
        waited[0].unlock()

    def test_each_request_of_a_holder(self):
        other = self.folder()
        for paths, call in ((["lease/keepalive", "kv/range"], lambda: lock.renew()), (["kv/txn"], lambda: lock.holds()),
                            (["kv/range"], lambda: folder.bids()), (["kv/range"], lambda: folder.in_use()), (["kv/txn"], lambda: lock.unlock())):
            for count in range(len(paths)):
                with self.subTest(path=paths[count]):
                    proxy, folder = self.proxy(lease=30, no_thread=True)
                    lock = folder.lock(blocking=False)
                    self.assertEqual(self.refused(proxy, count, call), paths[:count])
                    # Etcd got nothing, so the lock is what it was, after an unlock too.
                    self.assertTrue(lock.holds())
                    lock.renew()
                    with self.assertRaises(lf.Busy):
                        other.lock(blocking=False)
                    lock.unlock()
                    folder.close()
                    self.assertEqual(self.keys(), [])

    def test_the_close(self):
        proxy, folder = self.proxy(lease=5)
        folder.lock().unlock()
        proxy.refuse_after(0)
        folder.close()
        proxy.reopen()
        proxy, folder = self.proxy(lease=600)
        lock = folder.lock()
        self.assertTrue(lock.holds())
        proxy.refuse_after(0)
        folder.close()  # it tries to give the lock back for 5 s, and etcd does not learn of that
        with self.assertRaises(lf.Busy):
            self.folder().lock(blocking=False)
        cluster.revoke(self.etcd.endpoint, self.keys()[0][2])  # as the end of the lease does it

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


class Doubt(Case):
    """Somebody deletes the key of a holder, and an answer to the holder is lost."""

    def delete(self):
        cluster.delete(self.etcd.endpoint, self.keys()[0][0])

    def test_an_unlock_does_not_take_a_foreign_deletion_for_its_own(self):
        for is_before in (True, False):
            proxy, folder = self.proxy()
            lock = folder.lock()
            if is_before:
                self.delete()
                with self.folder().lock(blocking=False):  # two were inside
                    pass
            proxy.spoil("kv/txn", "reset before" if is_before else self.delete)
            with self.assertRaises(lf.Lost) as raised:
                lock.unlock()
            self.assertIn("did not arrive", str(raised.exception))
            with self.assertRaises(lf.NotHeld):
                lock.unlock()
            folder.lock(blocking=False).unlock()
            self.assertEqual(self.keys(), [])

    def test_an_unlock_that_finds_its_key_at_the_second_try_is_none(self):
        proxy, folder = self.proxy()
        for _ in range(2):
            lock = folder.lock()
            proxy.spoil("kv/txn", "reset before", 2)
            lock.unlock()

    def test_a_lost_answer_to_a_look_is_no_doubt(self):
        for fault in (*UNDONE, *DONE):
            proxy, folder = self.proxy()
            lock = folder.lock()
            proxy.spoil("kv/txn", fault)
            self.assertTrue(lock.holds(), fault)
            lock.unlock()
            lock = folder.lock()
            self.delete()
            proxy.spoil("kv/txn", fault)
            self.assertFalse(lock.holds(), fault)
            with self.assertRaises(lf.Lost):
                lock.unlock()


class Cost(Case):
    def test_requests_per_lock(self):
        """A cycle is one transaction to lock and one to unlock; a hand-over wakes one waiter, and costs it one look."""
        proxy, folder = self.proxy()
        folder.lock(blocking=False).unlock()
        proxy.seen.clear()
        for _ in range(10):
            folder.lock(blocking=False).unlock()
        self.assertEqual(proxy.seen, ["kv/txn"] * 20)
        lock = self.folder().lock()
        waiters = [self.proxy(lease=3600) for _ in range(3)]  # no renewal comes between
        waited = []
        for count, (_, waiter) in enumerate(waiters):
            waited.append(self.in_thread(lambda waiter=waiter: waiter.lock(timeout=GUARD)))
            wait_for(lambda: len(self.keys()) == count + 2, "no key")
        wait_for(lambda: all("watch" in it.seen for it, _ in waiters), "no watch")
        for it, _ in waiters:
            self.assertEqual(it.seen, ["lease/grant", "kv/txn", "kv/txn", "watch"])
        lock.unlock()
        wait_for(lambda: waited[0], "not served")
        self.assertEqual([it.seen.count("kv/range") for it, _ in waiters], [1, 0, 0])
        for result in waited:
            wait_for(lambda: result, "not served")
            result[0].unlock()


if __name__ == "__main__":
    unittest.main()
