"""Claimants compete on three real etcd members, each in a network namespace of its own, while members and claimants are killed and cut off.

    contest.py members SECONDS     three members; the leader is killed every 20 s, a member and a claimant are cut off, claimants die
    contest.py beside SECONDS [MUTEX]      one member, no faults; `etcdctl lock` competes too, and the program of mutex.go

The referee is not etcd: it listens on a Unix socket, and hears from each holder until when it is sure of the lock. Root is needed for `members`.
"""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../../bindings/python/src")]

import cluster
from cluster import Member, is_healthy, keys, post, wait_for

LEASE = 5
PREFIX = "contest"


def now():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Referee:
    """Each message is `enter TOKEN UNTIL`, `still TOKEN UNTIL` or `leave TOKEN`, and gets an answer."""

    def __init__(self, path):
        self.lock = threading.Lock()
        self.inside, self.newest, self.names = {}, 0, {}
        self.locks = self.rejected = 0
        self.violations, self.last, self.longest_gap = [], now(), 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(64)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection, connection.makefile("rw") as lines:
            try:
                for line in lines:
                    lines.write(self.hear(connection, line.split()) + "\n")
                    lines.flush()
            except OSError:
                pass
        with self.lock:
            self.inside.pop(connection, None)  # it died

    def hear(self, connection, words):
        with self.lock:
            kind, name, token = words[0], words[1], int(words[2])
            until = float(words[3]) if len(words) > 3 else None
            at = now()
            is_sure = until is None or until > at
            if kind == "leave":
                self.inside.pop(connection, None)
                return "ok"
            if kind == "enter":
                self.locks += 1
                self.names[name] = self.names.get(name, 0) + 1
                self.longest_gap, self.last = max(self.longest_gap, at - self.last), at
                for other, (other_name, other_token, other_until) in self.inside.items():
                    if other is not connection and (other_until is None or other_until > at) and is_sure:
                        self.violations.append(f"{name} ({token}) enters while {other_name} ({other_token}) is sure of the lock")
            # The resource: it refuses a smaller token than the largest it has seen. A holder that is sure is never refused.
            if token < self.newest:
                self.rejected += 1
                if is_sure:
                    self.violations.append(f"{name} is sure of the lock with token {token}, after {self.newest}")
            self.newest = max(self.newest, token)
            self.inside[connection] = (name, token, until)
            return "ok"


class Whistle:
    def __init__(self, path):
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.connect(path)
        self.lines = self.connection.makefile("rw")

    def say(self, *words):
        self.lines.write(" ".join(map(str, words)) + "\n")
        self.lines.flush()
        self.lines.readline()


def claim(url, path, name):
    """A claimant: locks for ever, until it is killed."""
    import lockfolder_native as lf
    whistle = Whistle(path)
    folder = lf.Folder(url, lease=LEASE)
    token = None

    def until(lock):
        before = now()
        left = lock.valid_for()
        return before + left

    while True:
        try:
            lock = folder.lock(timeout=random.choice((2, 20)))
        except (lf.Timeout, lf.IOFailure):
            continue
        except lf.Busy:
            time.sleep(0.05)
            continue
        entered = False
        try:
            token = lock.fence()
            whistle.say("enter", name, token, until(lock))
            entered = True
            for _ in range(random.choice((1, 1, 1, 4))):
                time.sleep(random.uniform(0, 0.05))
                whistle.say("still", name, token, until(lock))
        except (lf.Lost, lf.IOFailure):
            pass
        if entered:
            whistle.say("leave", name, token)
        for _ in range(100):
            try:
                lock.unlock()
                break
            except (lf.Lost, lf.NotHeld):
                break
            except lf.IOFailure:
                time.sleep(0.1)
        time.sleep(random.uniform(0, 0.05))


def once(path, name, endpoint):
    """What `etcdctl lock` runs while it has the lock. Its token is the revision of the first key."""
    whistle = Whistle(path)
    token = keys(endpoint, PREFIX + "/")[0][3]
    whistle.say("enter", name, token)
    time.sleep(random.uniform(0, 0.05))
    whistle.say("leave", name, token)


class Net:
    """A bridge, and a namespace for each host. All of it goes with `close`."""

    def __init__(self):
        self.tag = f"lfe{os.getpid() % 100000}"
        self.subnet = f"10.{100 + os.getpid() % 100}.{os.getpid() // 100 % 250}"
        self.hosts = []
        ip("link", "add", self.tag, "type", "bridge")
        ip("addr", "add", f"{self.subnet}.254/24", "dev", self.tag)
        ip("link", "set", self.tag, "up")

    def host(self, number):
        space, link = f"{self.tag}-{number}", f"{self.tag}v{number}"
        ip("netns", "add", space)
        self.hosts.append(space)
        ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", space)
        ip("link", "set", link, "master", self.tag, "up")
        for words in (("addr", "add", f"{self.subnet}.{number}/24", "dev", "eth0"), ("link", "set", "eth0", "up"), ("link", "set", "lo", "up")):
            ip("-n", space, *words)
        return f"{self.subnet}.{number}", ["ip", "netns", "exec", space]

    def cut(self, number):
        ip("link", "set", f"{self.tag}v{number}", "down")

    def mend(self, number):
        ip("link", "set", f"{self.tag}v{number}", "up")

    def close(self):
        for space in self.hosts:
            subprocess.run(["ip", "netns", "delete", space])
        subprocess.run(["ip", "link", "delete", self.tag])


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def leader(endpoints):
    """The number of the endpoint whose member leads."""
    for endpoint in endpoints:
        with contextlib.suppress(OSError, KeyError, ValueError):
            status = post(endpoint, "maintenance/status", {}, timeout=1)
            chief = status["leader"]
            for at, other in enumerate(endpoints):
                with contextlib.suppress(OSError):
                    if post(other, "maintenance/status", {}, timeout=1)["header"]["member_id"] == chief:
                        return at
    return None


class Claimants:
    def __init__(self, url, path):
        self.url, self.path, self.running, self.number = url, path, {}, 0

    def start(self, before=()):
        self.number += 1
        name = f"ours-{self.number}"
        log = open(self.path + ".log", "ab")
        with log:
            self.running[name] = (subprocess.Popen([*before, sys.executable, __file__, "claim", self.url, self.path, name], stderr=log, start_new_session=True,
                                                    preexec_fn=cluster.die_with_us), before)

    def kill_one(self):
        name = random.choice(list(self.running))
        process, before = self.running.pop(name)
        process.kill()
        process.wait()
        self.start(before)

    def check(self):
        for name, (process, _) in self.running.items():
            assert process.poll() is None, f"{name} ended: {open(self.path + '.log').read()}"

    def close(self):
        for process, _ in self.running.values():
            process.kill()
            process.wait()


def report(referee, what):
    ours = sum(count for name, count in referee.names.items() if name.startswith("ours"))
    print(f"{what}: {referee.locks} locks, {ours} of them ours; {len(referee.violations)} violations, {referee.rejected} late writes rejected, "
          f"the longest time without a lock {referee.longest_gap:.1f} s", flush=True)
    for violation in referee.violations[:9]:
        print("  " + violation)


def nothing_left(endpoint):
    wait_for(lambda: not keys(endpoint, PREFIX + "/"), "keys are left", seconds=60)


def members(seconds, folder):
    stack = contextlib.ExitStack()
    with stack:
        net = Net()
        stack.callback(net.close)
        hosts = [net.host(number) for number in (1, 2, 3)]
        others = ",".join(f"m{at}=http://{address}:2380" for at, (address, _) in enumerate(hosts))
        nodes = [Member(f"m{at}", folder, [
            "--listen-client-urls", f"http://{address}:2379", "--advertise-client-urls", f"http://{address}:2379",
            "--listen-peer-urls", f"http://{address}:2380", "--initial-advertise-peer-urls", f"http://{address}:2380",
            "--initial-cluster", others], before) for at, (address, before) in enumerate(hosts)]
        for node in nodes:
            stack.callback(node.kill)
            node.start()
        endpoints = [f"{address}:2379" for address, _ in hosts]
        for endpoint in endpoints:
            wait_for(lambda: is_healthy(endpoint), f"{endpoint} does not come up")
        path = os.path.join(folder, "referee")
        referee = Referee(path)
        claimants = Claimants(f"etcd://{','.join(endpoints)}/{PREFIX}", path)
        stack.callback(claimants.close)
        for _ in range(7):
            claimants.start()
        _, before = net.host(9)
        claimants.start(before)
        # A plan of 40 s, again and again.
        plan = {3: ("the leader dies", lambda: nodes[killed()].kill()), 9: ("it starts again", lambda: nodes[dead.pop()].start()),
                12: ("a claimant is cut off", lambda: net.cut(9)), 22: ("and is back", lambda: net.mend(9)),
                23: ("the leader dies", lambda: nodes[killed()].kill()), 27: ("it starts again", lambda: nodes[dead.pop()].start()),
                30: ("a member is cut off", lambda: net.cut(1)), 50: ("and is back", lambda: net.mend(1))}
        dead = []

        def killed():
            wait_for(lambda: leader(endpoints) is not None, "no leader")
            dead.append(leader(endpoints))
            return dead[-1]

        began, done = time.monotonic(), set()
        while (at := time.monotonic() - began) < seconds:
            for when, (what, act) in plan.items():
                due = (int(at) // 54, when)
                if int(at) % 54 >= when and due not in done:
                    done.add(due)
                    print(f"  {at:5.1f} s: {what}; {referee.locks} locks so far", flush=True)
                    act()
            time.sleep(random.uniform(1, 5))
            claimants.check()
            claimants.kill_one()
        net.mend(1), net.mend(9)
        for at in dead:
            nodes[at].start()
        claimants.close()
        wait_for(lambda: any(is_healthy(it) for it in endpoints), "etcd does not come back")
        nothing_left(next(it for it in endpoints if is_healthy(it)))
        report(referee, "three members")
        assert not referee.violations and referee.locks > 0
        # Longer than a lease, an election and a restart: somebody was stuck.
        assert referee.longest_gap < 3 * LEASE + 10, "somebody was stuck"


def beside(seconds, folder, mutex=None):
    etcd = cluster.One()
    with contextlib.closing(etcd):
        path = os.path.join(folder, "referee")
        referee = Referee(path)
        claimants = Claimants(f"etcd://{etcd.endpoint}/{PREFIX}", path)
        with contextlib.closing(claimants):
            for _ in range(3):
                claimants.start()
            of_go = [f"go-{at}" for at in range(2)] if mutex else []
            for name in of_go:
                claimants.running[name] = (subprocess.Popen([mutex, etcd.endpoint, PREFIX, path, name], preexec_fn=cluster.die_with_us), ())
            stop = threading.Event()

            def etcdctl(name):
                while not stop.is_set():
                    subprocess.run(["etcdctl", "--endpoints", etcd.endpoint, "lock", PREFIX, "--",
                                    sys.executable, __file__, "once", path, name, etcd.endpoint], env=cluster.ETCDCTL, check=True)

            threads = [threading.Thread(target=etcdctl, args=(f"etcdctl-{at}",)) for at in range(2)]
            for thread in threads:
                thread.start()
            time.sleep(seconds)
            stop.set()
            for thread in threads:
                thread.join()
            claimants.check()
        nothing_left(etcd.endpoint)
        report(referee, "beside etcdctl lock" + " and Go's concurrency.Mutex" * bool(mutex))
        print(f"  {referee.names}")
        assert not referee.violations
        assert len(referee.names) == 5 + len(of_go), f"not each was served: {referee.names}"


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["claim", url, path, name]:
            claim(url, path, name)
        case ["once", path, name, endpoint]:
            once(path, name, endpoint)
        case [("members" | "beside") as which, seconds, *mutex]:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
            folder = tempfile.mkdtemp(prefix="lockfolder-contest-")
            try:
                {"members": members, "beside": beside}[which](int(seconds), folder, *mutex)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        case _:
            sys.exit(__doc__)
