"""Real etcd members: one on this machine's loopback, or several, each in a network namespace of its own."""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from base64 import b64encode

LIBC = ctypes.CDLL(None)
ETCDCTL = dict(os.environ, ETCDCTL_API="3")


def free_port():
    with contextlib.closing(socket.socket()) as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


def post(endpoint, path, body, timeout=5):
    request = urllib.request.Request(f"http://{endpoint}/v3/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return json.load(answer)


def coded(text):
    return b64encode(text.encode()).decode()


def die_with_us():
    """In a child, before it becomes another program: it is killed when the test dies (PR_SET_PDEATHSIG)."""
    LIBC.prctl(1, signal.SIGKILL)


class Member:
    """One etcd. It is killed by its process id when it is closed."""

    def __init__(self, name, folder, command, before=(), log_level="error"):
        self.name, self.folder, self.before = name, folder, list(before)
        self.command = ["etcd", "--name", name, "--data-dir", os.path.join(folder, name), "--log-level", log_level, *command]
        self.process = None

    def start(self):
        log = open(os.path.join(self.folder, self.name + ".log"), "ab")
        with log:
            self.process = subprocess.Popen([*self.before, *self.command], stdout=log, stderr=log, start_new_session=True,
                                            preexec_fn=die_with_us)

    def kill(self):
        """As a power cut does it."""
        if self.process:
            # `ip netns exec` replaces itself by etcd, so this is etcd's own process.
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None


class One:
    """An etcd of one member, on the loopback."""

    def __init__(self, *options, scheme="http"):
        self.scheme = scheme
        self.folder = tempfile.mkdtemp(prefix="lockfolder-etcd-")
        self.endpoint, peer = (f"127.0.0.1:{free_port()}" for _ in range(2))
        self.member = Member("one", self.folder, [
            "--listen-client-urls", f"{scheme}://{self.endpoint}", "--advertise-client-urls", f"{scheme}://{self.endpoint}",
            "--listen-peer-urls", f"http://{peer}", "--initial-advertise-peer-urls", f"http://{peer}",
            "--initial-cluster", f"one=http://{peer}", "--unsafe-no-fsync", *options,
        ])
        self.start()

    def start(self):
        self.member.start()
        # With TLS it is a port that accepts: the claimants try until etcd is ready.
        is_up = is_healthy if self.scheme == "http" else accepts
        wait_for(lambda: is_up(self.endpoint), "etcd does not come up: " + self.folder)

    def close(self):
        self.member.kill()
        shutil.rmtree(self.folder)


def is_healthy(endpoint):
    try:
        post(endpoint, "kv/range", {"key": coded("health")}, timeout=1)
        return True
    except OSError:
        return False


def accepts(endpoint):
    host, port = endpoint.split(":")
    with contextlib.closing(socket.socket()) as it:
        return it.connect_ex((host, int(port))) == 0


def wait_for(so, what, seconds=60):
    """The limit ends a test that hangs. It measures nothing."""
    end = time.monotonic() + seconds
    while not so():
        if time.monotonic() > end:
            raise AssertionError(what)
        time.sleep(0.02)


def keys(endpoint, prefix):
    """The keys below a prefix, oldest first, each with its value and its lease."""
    from base64 import b64decode
    answer = post(endpoint, "kv/range", {"key": coded(prefix), "range_end": coded(prefix[:-1] + chr(ord(prefix[-1]) + 1)),
                                         "sort_target": "CREATE", "sort_order": "ASCEND"})
    return [(b64decode(kv["key"]).decode(), b64decode(kv.get("value", "")).decode(), int(kv.get("lease", 0)), int(kv["create_revision"]))
            for kv in answer.get("kvs", [])]


def delete(endpoint, prefix):
    post(endpoint, "kv/deleterange", {"key": coded(prefix), "range_end": coded(prefix[:-1] + chr(ord(prefix[-1]) + 1))})


def compact(endpoint):
    revision = post(endpoint, "kv/range", {"key": coded("x")})["header"]["revision"]
    post(endpoint, "kv/compaction", {"revision": revision, "physical": True})


def revoke(endpoint, lease):
    post(endpoint, "lease/revoke", {"ID": str(lease)})
