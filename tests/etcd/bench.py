"""How fast a lock on etcd is, beside other locks on the same etcd, in one run, round by round.

    bench.py [ROUNDS]    a cycle of lock and unlock, and a hand-over from an unlock to the waiter's lock; medians, and their ratio

LOCKFOLDER_LIBRARY names a library with etcd, LOCKFOLDER the command; both built for release. The others are etcd's own lock service
(v3lock) through the same gateway, `etcdctl lock`, and, if it is installed, the Lock of the Python package etcd3 0.12.0. That package
needs protobuf 3.20.3 and tenacity 6.3.1: with newer ones it does not load, or its Lock can't wait.
"""

import contextlib
import http.client
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from statistics import median

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../../bindings/python/src")]

import cluster
from cluster import One, coded, keys, wait_for
from lockfolder_native import Folder

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # otherwise it writes a line for each fork of ours
try:
    import etcd3
except (ImportError, TypeError):  # protobuf's refusal is a TypeError
    etcd3 = None

COMMAND = os.environ["LOCKFOLDER"]


class Claimant:
    """`lock` and `unlock`. A waiter is ready when it has a key, and a moment to fall asleep has passed."""

    cycles = 10

    def __init__(self, endpoint, name):
        self.endpoint, self.name = endpoint, name

    def cycle(self):
        for _ in range(self.cycles):
            self.lock()
            self.unlock()

    def is_ready(self):
        return len(keys(self.endpoint, self.name + "/")) == 2

    def close(self):
        pass


class Ours(Claimant):
    label = "this library"

    def __init__(self, endpoint, name):
        super().__init__(endpoint, name)
        self.folder = Folder(f"etcd://{endpoint}/{name}")

    def lock(self):
        self.held = self.folder.lock()

    def unlock(self):
        self.held.unlock()

    def close(self):
        self.folder.close()


class Service(Claimant):
    """One connection that is kept, one lease."""

    label = "etcd's lock service (v3lock), through the gateway"

    def __init__(self, endpoint, name):
        super().__init__(endpoint, name)
        self.connection = http.client.HTTPConnection(endpoint)
        self.lease = self.post("lease/grant", {"TTL": "3600"})["ID"]

    def post(self, path, body):
        self.connection.request("POST", f"/v3/{path}", json.dumps(body), {"Content-Type": "application/json"})
        return json.load(self.connection.getresponse())

    def lock(self):
        self.key = self.post("lock/lock", {"name": coded(self.name), "lease": self.lease})["key"]

    def unlock(self):
        self.post("lock/unlock", {"key": self.key})


class Checked(Service):
    """The service of etcd 3.4 does not look whether the claimant's key is still there after it has waited (etcd issue 11456)."""

    label = "the same, and a look at one's own key"

    def lock(self):
        super().lock()
        assert "kvs" in self.post("kv/range", {"key": self.key})


class Etcd3(Claimant):
    label = "the Python package etcd3, over gRPC"

    def __init__(self, endpoint, name):
        super().__init__(endpoint, name)
        host, port = endpoint.split(":")
        self.client = etcd3.client(host, int(port))
        self.held = self.client.lock(name, ttl=60)

    def lock(self):
        while not self.held.acquire(timeout=2):  # it can miss a release, because it looks first and watches afterwards
            pass

    def unlock(self):
        self.held.release()

    def is_ready(self):
        time.sleep(0.05)  # its waiters have no key
        return True


class Program(Claimant):
    """A command that runs another one under the lock: that says `got`, and stays until something is written to the FIFO."""

    cycles = 1

    def __init__(self, endpoint, name):
        super().__init__(endpoint, name)
        self.folder = tempfile.mkdtemp(prefix="lockfolder-bench-")
        self.process, self.fifo = None, os.path.join(self.folder, "fifo")
        os.mkfifo(self.fifo)

    def cycle(self):
        subprocess.run(self.command("true"), check=True, env=cluster.ETCDCTL, stdout=subprocess.DEVNULL)

    def lock(self):
        command = self.command("sh", "-c", 'echo got; read _ <"$0"', self.fifo)
        self.process = subprocess.Popen(command, env=cluster.ETCDCTL, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "got\n"

    def unlock(self):
        with open(self.fifo, "w") as fifo:
            fifo.write("\n")

    def end(self):
        self.process.wait()
        self.process.stdout.close()
        self.process = None

    def close(self):
        if self.process:
            self.process.kill()
            self.end()
        os.unlink(self.fifo)
        os.rmdir(self.folder)


class Run(Program):
    label = "`lockfolder run`"

    def command(self, *words):
        return [COMMAND, "run", f"etcd://{self.endpoint}/{self.name}", "--", *words]


class Etcdctl(Program):
    label = "`etcdctl lock`"

    def command(self, *words):
        return ["etcdctl", "--endpoints", self.endpoint, "lock", self.name, "--", *words]


def hand_over(first, second):
    first.lock()
    at = []

    def wait():
        second.lock()
        at.append(time.perf_counter())

    waiter = threading.Thread(target=wait)
    waiter.start()
    wait_for(second.is_ready, "the waiter has no key")
    time.sleep(0.15)  # until it sleeps; and etcd tells news at once only to a watch that is as old as 0.1 s, or begins at the newest revision
    began = time.perf_counter()
    first.unlock()
    waiter.join()
    second.unlock()
    for one in (first, second):
        if isinstance(one, Program):
            one.end()
    return at[0] - began


def main(rounds):
    kinds = [Ours, Service, Checked, *[Etcd3] * bool(etcd3), Run, Etcdctl]
    with contextlib.closing(One()) as etcd, contextlib.ExitStack() as stack:
        pairs = {kind: [kind(etcd.endpoint, kind.__name__.lower()) for _ in range(2)] for kind in kinds}
        for one in sum(pairs.values(), []):
            stack.callback(one.close)
        cycles, hands = {kind: [] for kind in kinds}, {kind: [] for kind in kinds}
        for number in range(rounds + 1):  # the first round warms up
            # In another order each time, because what ran before has an effect.
            for kind, (first, _) in random.sample(list(pairs.items()), len(pairs)):
                began = time.perf_counter()
                first.cycle()
                cycles[kind].append((time.perf_counter() - began) / kind.cycles)
            for kind, (first, second) in random.sample(list(pairs.items()), len(pairs)):
                hands[kind].append(hand_over(first, second))
        print("| lock | cycle | ratio | hand-over | ratio |\n| --- | --- | --- | --- | --- |")
        for kind in kinds:
            base = Run if issubclass(kind, Program) else Ours
            cells = [kind.label]
            for times in (cycles, hands):
                own, ours = median(times[kind][1:]), median(times[base][1:])
                cells += [f"{own * 1000:.2f} ms", f"{own / ours:.2f}"]
            print("| " + " | ".join(cells) + " |")
        if not etcd3:
            print("(the Python package etcd3 is not there, or can't be loaded)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
