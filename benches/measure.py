"""The measurements. Each function returns plain data for results.json. Times are in nanoseconds."""

import contextlib
import json
import os
import random
import re
import statistics
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

from library import crates as library_sizes
from peer import C, FLOOR_TOLD, OUT, PYTHON, REAP_LOOP, ROOT, RUST, THREADS, Peer, lock, locks

now = time.monotonic_ns


def stats(samples, failures=0):
    q1, median, q3 = statistics.quantiles(samples, n=4) if len(samples) > 1 else samples * 3
    return {"median": median, "q1": q1, "q3": q3, "n": len(samples), "failures": failures}


class Bench:
    """A filesystem to measure on, and how thorough the measurement is."""

    def __init__(self, base, quick):
        self.base, self.quick = base, quick
        self.begun = set()  # the processes of `in_line`
        self.rounds, self.block = (3, 500_000) if quick else (61, 4_000_000)

    @contextlib.contextmanager
    def folder(self):
        with tempfile.TemporaryDirectory(prefix="bench-", dir=self.base) as path:
            yield Path(path)

    @contextlib.contextmanager
    def peers(self, lock, count=1, folder=None, shared=None):
        with contextlib.ExitStack() as stack:
            folder = folder or stack.enter_context(self.folder())
            peers = [Peer(lock, folder, shared) for _ in range(count)]
            for peer in peers:
                stack.callback(peer.end)
            yield [peer.ready() for peer in peers]

    # ---- one process: blocks of many, interleaved ----

    def blocks(self, cases, command):
        """`cases` names processes. Runs short blocks of each in turn, in an order that changes."""
        sizes = {}
        for name, peer in cases.items():
            peer.ask(command, 3)  # the first one prepares the files that the others use
            n = 1
            while (took := peer.ask(command, n)[0]) < self.block / 2:
                n *= max(2, min(16, int(self.block / max(took, 1) / 2)))
            sizes[name] = n
        samples, failures = {name: [] for name in cases}, dict.fromkeys(cases, 0)
        order = list(cases)
        for _ in range(self.rounds):
            random.shuffle(order)
            for name in order:
                took, failed = cases[name].ask(command, sizes[name])
                samples[name].append(took / sizes[name])
                failures[name] += failed
        return {name: stats(samples[name], failures[name]) for name in cases}

    def one_process(self, command, among, held=False):
        with contextlib.ExitStack() as stack:
            cases = {}
            for lock in among:
                peers = stack.enter_context(self.peers(lock, 1 + held))
                if held:
                    peers[1].ask("acquire")
                cases[lock.key] = peers[0]
            return self.blocks(cases, command)

    def cycle(self):
        return self.one_process("cycle", locks())

    def wait(self):
        return self.one_process("wait", [lock for lock in locks() if lock.waits])

    def busy(self):
        return self.one_process("busy", locks(), held=True)

    def whole(self):
        return self.one_process("whole", [lock for lock in locks() if lock.key != "floor"])

    def beside_files(self):
        """The cycle in folders that also hold files that are no bids."""
        result = {}
        for count in (0, 10, 1_000) if self.quick else (0, 10, 1_000, 10_000):
            with contextlib.ExitStack() as stack:
                cases = {}
                for key in ("floor", "ours", "lockfolder-py"):
                    if lock(key).installed():
                        folder = stack.enter_context(self.folder())
                        for i in range(count):
                            (folder / f"other-{i}.txt").touch()
                        cases[key] = stack.enter_context(self.peers(lock(key), folder=folder))[0]
                result[str(count)] = self.blocks(cases, "cycle")
        return result

    def beside_handles(self, count=200):
        """The cycle alone, and in a folder where another process has this many handles open; the memory and descriptors of a handle."""
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(self.folder())
            [alone] = stack.enter_context(self.peers(lock("ours")))
            [beside, idle] = stack.enter_context(self.peers(lock("ours"), 2, folder))
            heap, descriptors = idle.ask("handles", count)
            result = self.blocks({"alone": alone, "beside": beside}, "cycle")
            return {**result, "handles": count, "heap": heap / count, "descriptors": descriptors / count}

    def reap(self):
        """One lock in a folder of stale bids."""
        count, rounds = (200, 2) if self.quick else (10_000, 5)
        with self.folder() as folder, self.peers(lock("ours"), folder=folder) as [dead]:
            dead.ask("acquire")
            [bid] = folder.glob("*.json")
            content = json.loads(bid.read_text())
            dead.process.kill()
        samples = {name: [] for name in ("reap-loop", "ours", "reap-loop-cpu", "ours-cpu")}
        for _ in range(rounds):
            for subject in (REAP_LOOP, lock("ours")):
                with self.folder() as folder, self.peers(subject, folder=folder) as [peer]:
                    self.stale_bids(folder, count, content)
                    took, failed, used = peer.ask("once")
                    assert not failed and not list(folder.glob("*.json")), "not everything was reaped"
                    samples[subject.key].append(took / count)
                    samples[subject.key + "-cpu"].append(used / count)
        return {"count": count, **{name: stats(s) for name, s in samples.items()}}

    @staticmethod
    def stale_bids(folder, count, content):
        for pid in random.sample(range(1 << 16, 1 << 22), count):
            if not os.path.exists(f"/proc/{pid}"):
                name = f"{int(time.time() * 1000):012x}" + f"7{uuid.uuid4().hex[13:]}"
                (folder / f"{uuid.UUID(name)}.json").write_text(json.dumps({**content, "PID": pid}))

    # ---- many processes ----

    def contention(self):
        """Each process takes the lock, checks that it is alone, and gives the lock back, as often as it can."""
        sizes, seconds = ((2, 4), 0.1) if self.quick else ((2, 8, 32, 128), 1.2)
        result = {}
        for lock in locks():
            for size in sizes:
                if size <= lock.competes:
                    result.setdefault(lock.key, {})[str(size)] = self.compete(lock, size, seconds)
        return result

    def held(self):
        """The same for ours and flock(2), but each process works for 50 µs while it holds."""
        sizes, seconds = ((2, 4), 0.1) if self.quick else ((2, 8, 32, 128), 1.2)
        among = [one for one in locks() if one.key in ("ours", "ours-other", "flock")]
        return {one.key: {str(size): self.compete(one, size, seconds, 50_000) for size in sizes} for one in among}

    def threads(self, size=8):
        """Threads of one process, each with what it opened itself."""
        rounds, seconds = (1, 0.1) if self.quick else (7, 0.5)
        samples = {}
        for _ in range(rounds):
            for lock in random.sample(THREADS, len(THREADS)):
                for hold in (0, 50_000):
                    with self.peers(lock) as [peer]:
                        total, failures, overlaps, *each = peer.ask("threads", size, int(seconds * 1e9), hold)
                    assert not failures and not overlaps, f"{lock.key}: {failures} failures, {overlaps} overlaps"
                    jain = total**2 / (size * sum(n * n for n in each)) if total else 0
                    samples.setdefault(lock.key, {}).setdefault(str(hold), []).append((total / seconds, jain))
        middle = lambda runs: {"per_second": statistics.median(r for r, _ in runs), "jain": statistics.median(j for _, j in runs)}
        return {key: {hold: middle(runs) for hold, runs in holds.items()} for key, holds in samples.items()}

    def compete(self, lock, size, seconds, hold=0):
        with self.folder() as folder, self.folder() as beside:
            with self.peers(lock, size, folder, beside / "shared") as peers:
                begin = now() + 300_000_000 + size * 2_000_000  # all processes are ready by then
                for peer in peers:
                    peer.tell("contend", begin, begin + int(seconds * 1e9), *([hold] if hold else []))
                counts, failures, overlaps, switches = zip(*(peer.answer() for peer in peers))
        total = sum(counts)
        return {
            "per_second": total / seconds,
            "jain": total**2 / (size * sum(n * n for n in counts)) if total else 0,
            "none": counts.count(0),
            "failures": sum(failures),
            "overlaps": sum(overlaps),
            "switches_per_lock": sum(switches) / max(total, 1),
        }

    def handover(self):
        """From the start of the holder's unlock until the waiter holds."""
        among = [lock for lock in locks() if lock.hands_over]
        return self.handovers(among, self.pass_on, 3 if self.quick else 100, 3 if self.quick else 40)

    def in_line(self):
        """The same where the holder has stood in line itself, so that it knows of the waiter: it tells it, then unlocks."""
        among = [FLOOR_TOLD, *(one for one in locks() if one.key in ("ours", "ours-other", "flock"))]
        return self.handovers(among, self.pass_on_in_line, 5 if self.quick else 100, 0)

    def crash(self):
        """From the SIGKILL of the holder until the waiter holds."""
        among = [lock for lock in locks() if lock.survives]
        return self.handovers(among, self.pass_on_by_death, 3 if self.quick else 60, 3 if self.quick else 20)

    def handovers(self, among, pass_on, rounds, rounds_of_pollers):
        with contextlib.ExitStack() as stack:
            pairs, samples = {}, {}
            for lock in among:
                folder = stack.enter_context(self.folder())
                pairs[lock] = [folder, *stack.enter_context(self.peers(lock, 2, folder))]
                samples[lock.key] = []
            for i in range(rounds):
                for lock, pair in pairs.items():
                    if not lock.polls_ms or i < rounds_of_pollers:
                        samples[lock.key].append(pass_on(lock, *pair))
                        pair[1:] = pair[:0:-1]  # the other way round
            return {key: stats(s) for key, s in samples.items()}

    @staticmethod
    def fall_asleep(lock):
        """Gives a waiter time to settle. The time is not in step with its polls."""
        time.sleep(random.uniform(0.004, 0.008) + random.uniform(0, lock.polls_ms / 1000))

    def pass_on(self, lock, _, holder, waiter):
        if holder.ask("acquire")[1]:
            raise RuntimeError(f"{lock.key} can't lock")
        waiter.tell("acquire")
        self.fall_asleep(lock)
        unlocked, _ = holder.ask("release")
        had, _ = waiter.answer()
        waiter.ask("release")
        return had - unlocked

    def pass_on_in_line(self, lock, _, holder, waiter):
        # The lock goes back and forth. Only the very first holder has met no line.
        if holder not in self.begun:
            self.begun.update((holder, waiter))
            holder.ask("acquire")
        waiter.tell("acquire")
        self.fall_asleep(lock)
        unlocked, _ = holder.ask("release")
        had, _ = waiter.answer()
        return had - unlocked

    def pass_on_by_death(self, lock, folder, _, waiter):
        holder = Peer(lock, folder).ready()
        holder.ask("acquire")
        waiter.tell("acquire")
        self.fall_asleep(lock)
        killed = now()
        holder.process.kill()
        had, _ = waiter.answer()
        holder.end()
        waiter.ask("release")
        return had - killed

    def waiting(self, count=32):
        """The cost of waiting: processor time while nothing happens, and wake-ups while the lock passes through all waiters."""
        among = [lock for lock in locks() if lock.survives]
        count, seconds = (4, 0.5) if self.quick else (count, 10)
        result = {lock.key: {} for lock in among}
        with contextlib.ExitStack() as stack:
            groups = {lock: stack.enter_context(self.peers(lock, count + 1)) for lock in among}
            before = {}
            for lock, (holder, *waiters) in groups.items():
                holder.ask("acquire")
                before[lock] = sum(peer.cpu_ns() for peer in waiters)
                for peer in waiters:
                    peer.tell("turn")
            time.sleep(seconds)
            for lock, (_, *waiters) in groups.items():
                used = sum(peer.cpu_ns() for peer in waiters) - before[lock]
                result[lock.key] |= {"processes": count, "seconds": seconds, "cpu_ns": used}
            for lock, (holder, *waiters) in groups.items():
                began = holder.ask("release")[0]
                switches = sum(peer.answer()[0] for peer in waiters)
                # Each waiter went to sleep once before the hand-overs. That is the minimum.
                result[lock.key] |= {"switches": switches / count, "through_ns": now() - began}
        return result

    # ---- what repeats exactly ----

    def counts(self):
        """System calls and instructions of one cycle: the difference of two runs."""
        result = {}
        for lock in locks():
            if self.quick and lock.key not in ("floor", "ours", "lockfolder-py"):
                continue
            few, many = (20, 40) if lock.program is not C and lock.program is not RUST else (500, 1000)
            runs = [self.count_calls(lock, n) for n in (few, many)]
            if None not in runs:
                difference = {call: (runs[1][call] - runs[0].get(call, 0)) / (many - few) for call in runs[1]}
                calls = {call: round(n, 2) for call, n in sorted(difference.items()) if n >= 0.02}
                result[lock.key] = {"calls": round(sum(difference.values()), 2), "by_call": calls}
            if lock.program in (C, RUST):
                runs = [self.count_instructions(lock, n) for n in (few, many)]
                if None not in runs:
                    result.setdefault(lock.key, {})["instructions"] = (runs[1] - runs[0]) / (many - few)
        return result

    def run_under(self, tool, lock, n):
        environment = {**os.environ, "NODE_PATH": str(OUT / "node/node_modules")}
        with self.folder() as folder:
            argv = [*tool, *lock.program, lock.key, str(folder)]
            try:
                return subprocess.run(argv, input=f"cycle {n}\n", env=environment, capture_output=True, text=True, timeout=300)
            except FileNotFoundError:
                return None

    def count_calls(self, lock, n):
        with tempfile.NamedTemporaryFile("r", dir=OUT) as table:
            if self.run_under(["strace", "-f", "-c", "-o", table.name], lock, n) is None:
                return None
            rows = (line.split() for line in table.read().splitlines())
            return {row[-1]: int(row[3]) for row in rows if len(row) >= 5 and row[3].isdigit() and row[-1] != "total"}

    def count_instructions(self, lock, n):
        done = self.run_under(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"], lock, n)
        found = done and re.search(r"Collected : (\d+)", done.stderr)
        return int(found[1]) if found and done.returncode == 0 else None


def library(quick):
    """Size and load time of the shared library."""
    path = ROOT / "target/release/liblockfolder.so"
    with tempfile.NamedTemporaryFile(dir=OUT) as stripped:
        subprocess.run(["strip", "-o", stripped.name, path], check=True)
        size = os.path.getsize(stripped.name)
    loading = [OUT / "load", path]
    load = lambda: int(subprocess.run(loading, check=True, capture_output=True, text=True).stdout)
    loads = stats([load() for _ in range(3 if quick else 41)])
    return {"bytes": os.path.getsize(path), "stripped": size, "load": loads, "crates": library_sizes(path)}
