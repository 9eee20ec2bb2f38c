"""How fast a lock on etcd is, beside etcd's own lock service (v3lock), through the same gateway, in one run, round by round.

    bench.py [ROUNDS]    a cycle of lock and unlock, and a hand-over from an unlock to the waiter's lock; medians, and their ratio
"""

import contextlib
import http.client
import json
import os
import sys
import threading
import time
from statistics import median

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../../bindings/python/src")]

from cluster import One, coded, keys, wait_for
from lockfolder_native import Folder


class Service:
    """A claimant of etcd's lock service: one connection that is kept, one lease."""

    def __init__(self, endpoint, name):
        self.connection, self.name = http.client.HTTPConnection(endpoint), coded(name)
        self.lease = self.post("lease/grant", {"TTL": "60"})["ID"]

    def post(self, path, body):
        self.connection.request("POST", f"/v3/{path}", json.dumps(body), {"Content-Type": "application/json"})
        return json.load(self.connection.getresponse())

    def lock(self):
        self.key = self.post("lock/lock", {"name": self.name, "lease": self.lease})["key"]

    def unlock(self):
        self.post("lock/unlock", {"key": self.key})


class Ours:
    def __init__(self, endpoint, name):
        self.folder = Folder(f"etcd://{endpoint}/{name}")

    def lock(self):
        self.held = self.folder.lock()

    def unlock(self):
        self.held.unlock()


def hand_over(endpoint, name, first, second):
    first.lock()
    at = []

    def wait():
        second.lock()
        at.append(time.perf_counter())

    waiter = threading.Thread(target=wait)
    waiter.start()
    wait_for(lambda: len(keys(endpoint, name + "/")) == 2, "the waiter has no key")
    time.sleep(0.02)  # until it sleeps
    began = time.perf_counter()
    first.unlock()
    waiter.join()
    second.unlock()
    return at[0] - began


def main(rounds):
    with contextlib.closing(One()) as etcd:
        kinds = {kind.__name__: (kind.__name__.lower(), kind(etcd.endpoint, kind.__name__.lower()), kind(etcd.endpoint, kind.__name__.lower()))
                 for kind in (Ours, Service)}
        cycles, hands = {kind: [] for kind in kinds}, {kind: [] for kind in kinds}
        for _ in range(rounds):
            for kind, (_, first, _) in kinds.items():
                began = time.perf_counter()
                for _ in range(10):
                    first.lock()
                    first.unlock()
                cycles[kind].append((time.perf_counter() - began) / 10)
            for kind, (name, first, second) in kinds.items():
                hands[kind].append(hand_over(etcd.endpoint, name, first, second))
        for what, times in (("cycle", cycles), ("hand-over", hands)):
            ours, theirs = median(times["Ours"]), median(times["Service"])
            print(f"{what}: ours {ours * 1000:.2f} ms, etcd's lock service {theirs * 1000:.2f} ms, ratio {ours / theirs:.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
