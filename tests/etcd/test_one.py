"""One real etcd: what each call promises there, beside etcd's own lock, and with a proxy that spoils requests.

LOCKFOLDER_LIBRARY names a library with etcd, LOCKFOLDER the command. `tests/etcd/run` builds both, and runs this.
"""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../../bindings/python/src")]

import cluster
from cluster import One, keys, wait_for
from proxy import Proxy

import lockfolder_native as lf
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
        self.prefix = f"test-{Case.number}"
        self.url = f"etcd://{ETCD.endpoint}/{self.prefix}"

    def tearDown(self):
        self.doCleanups()
        self.assertEqual(keys(ETCD.endpoint, self.prefix + "/"), [], "keys are left")

    def folder(self, url=None, **options):
        folder = Folder(url or self.url, **options)
        self.addCleanup(folder.close)
        return folder

    def keys(self):
        return keys(ETCD.endpoint, self.prefix + "/")

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

    def proxy(self, **options):
        proxy = Proxy(ETCD.endpoint)
        self.addCleanup(proxy.close)
        return proxy, self.folder(f"etcd://{proxy.endpoint}/{self.prefix}", **options)


class Calls(Case):
    def test_a_lock_excludes_and_is_shown(self):
        ours, theirs = self.folder(), self.folder()
        lock = ours.lock(blocking=False)
        self.assertTrue(lock.holds())
        with self.assertRaises(lf.Busy) as raised:
            theirs.lock(blocking=False)
        self.assertIn(str(os.getpid()), str(raised.exception))
        self.assertIn(f"etcd://{ETCD.endpoint}/{self.prefix}", str(raised.exception))
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
        for way in (lambda key: cluster.delete(ETCD.endpoint, key[0]), lambda key: cluster.revoke(ETCD.endpoint, key[2])):
            lock = ours.lock()
            way(self.keys()[0])
            self.assertFalse(lock.holds())
            with self.assertRaises(lf.Lost):
                lock.unlock()
        lock = ours.lock()
        cluster.delete(ETCD.endpoint, self.keys()[0][0])
        self.assertEqual(select.select([ours.lost.fileno()], [], [], GUARD)[0], [ours.lost.fileno()], "the thread does not notice")
        with self.assertRaises(lf.Lost):
            lock.unlock()

    def test_a_waiter_whose_key_is_deleted_stands_in_line_again(self):
        lock = self.folder().lock()
        waited = self.in_thread(lambda: self.folder().lock(timeout=GUARD))
        wait_for(lambda: len(self.keys()) == 2, "no key")
        before = self.keys()[1][3]
        cluster.delete(ETCD.endpoint, self.keys()[1][0])
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
        cluster.compact(ETCD.endpoint)
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


class Beside(Case):
    """etcd's own lock on the same prefix."""

    def etcdctl(self):
        """Says `got` when it has the lock, and keeps it until its file is gone: etcdctl passes no input on."""
        descriptor, name = tempfile.mkstemp(prefix="lockfolder-etcd-")
        os.close(descriptor)
        self.addCleanup(lambda: os.path.exists(name) and os.unlink(name))
        full = ["etcdctl", "--endpoints", ETCD.endpoint, "lock", "--ttl", "5", self.prefix, "--",
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


class Messages(Case):
    def refusal(self, url, timeout=GUARD):
        folder = Folder(url)
        self.addCleanup(folder.close)
        with self.assertRaises(lf.LockFolderError) as raised:
            folder.lock(timeout=timeout)
        return raised.exception

    def test_no_etcd(self):
        port = cluster.free_port()
        error = self.refusal(f"etcd://127.0.0.1:{port}/x", timeout=0.5)
        self.assertIn(f"http://127.0.0.1:{port}", str(error))
        self.assertIn("refused", str(error))
        self.assertEqual(error.errno, 111)

    def test_another_server(self):
        import http.server
        class Silent(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Silent)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.assertIn(str(server.server_address[1]), str(self.refusal(f"etcd://127.0.0.1:{server.server_address[1]}/x", timeout=0.5)))

    def test_no_gateway(self):
        etcd = One("--enable-grpc-gateway=true")
        etcd.member.kill()
        etcd.member.command[-1] = "--enable-grpc-gateway=false"
        self.addCleanup(etcd.close)
        etcd.member.start()
        error = self.refusal(f"etcd://{etcd.endpoint}/x")
        self.assertIsInstance(error, lf.Unsupported)
        self.assertIn("gateway", str(error))

    def test_users(self):
        etcd = One()
        self.addCleanup(etcd.close)
        ctl = lambda *it: subprocess.run(["etcdctl", "--endpoints", etcd.endpoint, *it], env=cluster.ETCDCTL, check=True, capture_output=True)
        ctl("user", "add", "root:secret")
        ctl("user", "add", "joe:word")
        ctl("role", "add", "root")
        ctl("user", "grant-role", "root", "root")
        ctl("auth", "enable")
        self.assertIn("wants a user", str(self.refusal(f"etcd://{etcd.endpoint}/x")))
        wrong = str(self.refusal(f"etcd://root:wrong@{etcd.endpoint}/x"))
        self.assertIn("password is wrong", wrong)
        self.assertIn("denied", str(self.refusal(f"etcd://joe:word@{etcd.endpoint}/x")))
        with Folder(f"etcd://root:secret@{etcd.endpoint}/x") as folder, folder.lock() as lock:
            self.assertTrue(lock.holds())
            self.assertNotIn("secret", repr(folder.bids()))


class Tls(Case):
    """A certificate authority of our own, a server that wants TLS, and client certificates."""

    @classmethod
    def setUpClass(cls):
        cls.folder_of_keys = tempfile.mkdtemp(prefix="lockfolder-tls-")
        cls.addClassCleanup(shutil.rmtree, cls.folder_of_keys)
        cls.file = staticmethod(lambda name: os.path.join(cls.folder_of_keys, name))

        def openssl(*words):
            subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=cls.folder_of_keys)

        for name in ("ca", "other"):
            openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key",
                    "-out", f"{name}.pem", "-subj", f"/CN={name}", "-days", "2")
        with open(cls.file("names"), "w") as names:
            names.write("subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n")
        for name in ("server", "client"):
            openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key",
                    "-out", f"{name}.csr", "-subj", f"/O={name}")
            openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                    "-out", f"{name}.pem", "-days", "2", "-extfile", "names")
        cls.etcd = One("--cert-file", cls.file("server.pem"), "--key-file", cls.file("server.key"),
                       "--trusted-ca-file", cls.file("ca.pem"), "--client-cert-auth", scheme="https")
        cls.addClassCleanup(cls.etcd.close)

    def refusal(self, url):
        with Folder(url) as folder, self.assertRaises(lf.LockFolderError) as raised:
            folder.lock(timeout=2)
        return str(raised.exception)

    def test_tls(self):
        place = f"{self.etcd.endpoint}/x"
        client = f"cert={self.file('client.pem')}&key={self.file('client.key')}"
        with Folder(f"etcds://{place}?cacert={self.file('ca.pem')}&{client}", lease=5) as folder:
            lock = folder.lock()
            self.assertTrue(lock.holds())
            with Folder(f"etcds://{place}?cacert={self.file('ca.pem')}&{client}") as other:
                waited = self.in_thread(lambda: other.lock(timeout=GUARD).unlock())
                time.sleep(0.5)
                self.assertEqual(waited, [])
                lock.unlock()
                wait_for(lambda: waited, "not served")
                self.assertEqual(waited, [None])

    def test_messages(self):
        place = f"{self.etcd.endpoint}/x"
        self.assertIn("etcds://", self.refusal(f"etcd://{place}"))
        self.assertIn("ETCDCTL_CACERT", self.refusal(f"etcds://{place}"))
        self.assertIn("ETCDCTL_CACERT", self.refusal(f"etcds://{place}?cacert={self.file('other.pem')}"))
        self.assertIn("ETCDCTL_CERT", self.refusal(f"etcds://{place}?cacert={self.file('ca.pem')}"))
        self.assertIn("etcd://", self.refusal(f"etcds://{ETCD.endpoint}/x?cacert={self.file('ca.pem')}"))
        with self.assertRaises(lf.IOFailure) as raised:
            Folder(f"etcds://{place}?cacert=/there/is/no/file")
        self.assertIn("/there/is/no/file", str(raised.exception))
        with self.assertRaises(lf.Invalid):
            Folder(f"etcds://{place}?cacert={self.file('names')}")


if __name__ == "__main__":
    unittest.main()
