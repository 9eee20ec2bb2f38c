"""What a person is told who can't get the lock: no etcd there, another server, users, TLS."""

import os
import shutil
import subprocess
import tempfile
import threading
import time
import unittest

from case import GUARD, Case, setUpModule, tearDownModule  # first: it says where the other modules are
import cluster
from cluster import One, wait_for

import lockfolder_native as lf
from lockfolder_native import Folder


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

        cls.openssl = staticmethod(openssl)

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
        cls.secure = One("--cert-file", cls.file("server.pem"), "--key-file", cls.file("server.key"),
                       "--trusted-ca-file", cls.file("ca.pem"), "--client-cert-auth", scheme="https")
        cls.addClassCleanup(cls.secure.close)

    def refusal(self, url):
        with Folder(url) as folder, self.assertRaises(lf.LockFolderError) as raised:
            folder.lock(timeout=2)
        return str(raised.exception)

    def test_tls(self):
        place = f"{self.secure.endpoint}/x"
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
        place = f"{self.secure.endpoint}/x"
        self.assertIn("etcds://", self.refusal(f"etcd://{place}"))
        self.assertIn("ETCDCTL_CACERT", self.refusal(f"etcds://{place}"))
        self.assertIn("ETCDCTL_CACERT", self.refusal(f"etcds://{place}?cacert={self.file('other.pem')}"))
        self.assertIn("ETCDCTL_CERT", self.refusal(f"etcds://{place}?cacert={self.file('ca.pem')}"))
        self.assertIn("etcd://", self.refusal(f"etcds://{self.etcd.endpoint}/x?cacert={self.file('ca.pem')}"))
        with self.assertRaises(lf.IOFailure) as raised:
            Folder(f"etcds://{place}?cacert=/there/is/no/file")
        self.assertIn("/there/is/no/file", str(raised.exception))
        with self.assertRaises(lf.Invalid):
            Folder(f"etcds://{place}?cacert={self.file('names')}")

    def test_a_key_that_does_not_belong_to_the_certificate(self):
        """The error comes when the folder is opened, and not from the TLS library at the first connection."""
        place = f"{self.secure.endpoint}/x?cacert={self.file('ca.pem')}"
        self.openssl("genpkey", "-algorithm", "ed25519", "-out", "ed25519.key")  # of another kind than the certificate's
        self.openssl("genpkey", "-algorithm", "ed448", "-out", "ed448.key")  # of a kind that our TLS does not have
        with open(self.file("broken.pem"), "w") as broken:
            broken.write("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        for certificate, key in (("client.pem", "server.key"), ("client.pem", "ed25519.key"), ("client.pem", "ed448.key"), ("broken.pem", "client.key")):
            with self.subTest(certificate=certificate, key=key):
                with self.assertRaises(lf.Invalid) as raised:
                    Folder(f"etcds://{place}&cert={self.file(certificate)}&key={self.file(key)}")
                self.assertIn(self.file(certificate), str(raised.exception))
                self.assertIn(self.file(key), str(raised.exception))
        # The two in one file, as some tools write them, are in order.
        with open(self.file("both.pem"), "w") as both, open(self.file("client.key")) as key, open(self.file("client.pem")) as certificate:
            both.write(key.read() + certificate.read())
        with Folder(f"etcds://{place}&cert={self.file('both.pem')}&key={self.file('both.pem')}") as folder:
            folder.lock(timeout=GUARD).unlock()


if __name__ == "__main__":
    unittest.main()
