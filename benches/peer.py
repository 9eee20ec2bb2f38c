"""The locks that are measured, and the processes that hold them. harness.c lists the commands."""

import dataclasses
import os
import pathlib
import select
import subprocess
import time
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "target/bench"
PEERS = ROOT / "benches/peers"
C, RUST = [str(OUT / "subjects-c")], [str(OUT / "subjects-rust")]
PYTHON = [str(OUT / "venv/bin/python"), str(PEERS / "python/peer.py")]
NODE = ["node", str(PEERS / "node/peer.js")]


@dataclass(frozen=True, eq=False)
class Lock:
    key: str
    label: str
    program: list
    waits: bool = True  # it can wait by itself
    competes: int = 0  # the largest number of processes in the test under contention
    hands_over: bool = False
    polls_ms: int = 0  # the longest pause between two looks of a waiter
    survives: bool = False  # a waiter gets the lock after the holder was killed
    subject: str = ""  # what harness.c calls it, if that is not the key
    library: str = ""  # the folder of the shared library that it uses in place of ours

    def installed(self):
        if self.program is PYTHON:
            return pathlib.Path(PYTHON[0]).exists()
        if self.program is NODE:
            return (OUT / "node/node_modules").exists()
        return self.key != "liblockfile" or b"lockfile_create" in pathlib.Path(C[0]).read_bytes()


ALL = [
    Lock("floor", "the bare system calls", C, waits=False, hands_over=True),
    Lock("ours", "**lockfolder (C)**", C, competes=128, hands_over=True, survives=True),
    Lock("ours-rust", "**lockfolder (Rust)**", RUST),
    Lock("excl", "`O_EXCL` lock file", C, waits=False, competes=128, hands_over=True, polls_ms=2),
    Lock("mkdir", "`mkdir` lock", C, waits=False),
    Lock("liblockfile", "liblockfile", C, waits=False, competes=128),
    Lock("flock", "flock(2)", C, competes=128, hands_over=True, survives=True),
    Lock("ofd", "OFD lock", C, competes=128, hands_over=True, survives=True),
    Lock("fd-lock", "fd-lock (Rust)", RUST, competes=128),
    Lock("fslock", "fslock (Rust)", RUST),
    Lock("lockfolder-py", "lockfolder 1.0.2 (Python)", PYTHON, waits=False, competes=32, hands_over=True, polls_ms=50),
    Lock("filelock", "filelock `FileLock` (Python)", PYTHON, competes=32, hands_over=True, polls_ms=50, survives=True),
    Lock("filelock-soft", "filelock `SoftFileLock` (Python)", PYTHON),
    Lock("filelock-strict", "filelock `StrictSoftFileLock` (Python)", PYTHON, hands_over=True, polls_ms=50),
    Lock("portalocker", "portalocker (Python)", PYTHON),
    Lock("fasteners", "fasteners (Python)", PYTHON, hands_over=True, polls_ms=100),
    Lock("proper-lockfile", "proper-lockfile (Node)", NODE, competes=8, hands_over=True, polls_ms=50),
]
FLOOR_TOLD = Lock("floor-told", "the bare system calls, the next one told first", C)
THREADS = [
    Lock("ours", "**lockfolder**, a handle for each thread", C),
    Lock("one-handle", "**lockfolder**, one handle and a mutex around it", C),
    Lock("flock", "flock(2)", C),
    Lock("mutex", "pthread_mutex", C),
    Lock("parking_lot", "parking_lot (Rust)", RUST),
]
REAP_LOOP = Lock("reap-loop", "a loop in C: open, read, unlink", C)


def compare_with(library):
    """From now on only these are measured: the library, another version of it, the floor and flock(2)."""
    other = dataclasses.replace(lock("ours"), key="ours-other", label="another version", subject="ours", library=library)
    ALL[:] = [lock("floor"), lock("ours"), other, lock("flock")]


def locks():
    return [lock for lock in ALL if lock.installed()]


def lock(key):
    return next(lock for lock in ALL if lock.key == key)


class Peer:
    """A process that has a lock's folder open and does what it is told."""

    everybody = []

    def __init__(self, lock, folder, shared=None):
        self.lock = lock
        environment = {**os.environ, "NODE_PATH": str(OUT / "node/node_modules")}
        if lock.library:
            environment["LD_LIBRARY_PATH"] = lock.library
        argv = [*lock.program, lock.subject or lock.key, str(folder), *([str(shared)] if shared else [])]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self.pending = b""
        Peer.everybody.append(self)

    def ready(self):
        if (line := self.line(60)) != "ready":
            raise RuntimeError(f"{self.lock.key}: {line!r}")
        return self

    def line(self, seconds=120):
        end = time.monotonic() + seconds
        while b"\n" not in self.pending:
            if not select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))[0]:
                raise TimeoutError(f"{self.lock.key} has not answered for {seconds} s")
            more = os.read(self.process.stdout.fileno(), 4096)
            if not more:
                raise RuntimeError(f"{self.lock.key} ended with {self.process.wait()}")
            self.pending += more
        line, self.pending = self.pending.split(b"\n", 1)
        return line.decode()

    def tell(self, *words):
        self.process.stdin.write((" ".join(map(str, words)) + "\n").encode())
        self.process.stdin.flush()

    def answer(self):
        return [int(word) for word in self.line().split()]

    def ask(self, *words):
        self.tell(*words)
        return self.answer()

    def kill(self):
        self.process.kill()
        self.end()

    def end(self):
        """Tells it to end, and makes sure that it ends."""
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        Peer.everybody.remove(self)

    def cpu_ns(self):
        """The processor time of all its threads."""
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def end_all():
    for peer in list(Peer.everybody):
        peer.process.kill()
        peer.end()
