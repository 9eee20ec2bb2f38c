"""Locks of Python behind the commands of harness.c (it says what they mean): peer.py SUBJECT FOLDER [SHARED-FILE]."""

import mmap
import os
import pathlib
import random
import resource
import struct
import sys
import time

HELD, BUSY, FAILED = 0, 1, -1


class Lockfolder:
    """The package's own advice for waiting: delays with a random component, of increasing duration."""

    def __init__(self, folder):
        from lockfolder import lockfolder

        self.module = lockfolder
        self.path = pathlib.Path(folder)
        self.module.setup()

    def try_lock(self):
        try:
            return HELD if self.module.lock(self.path) else BUSY
        except Exception:
            # It met a bid that was half written or just deleted. Then it leaves its own bid behind, which would shut
            # out all others.
            self.module._bidfile_path(self.path).unlink(missing_ok=True)
            return FAILED

    def wait(self):
        pause = 0.001
        while (done := self.try_lock()) == BUSY:
            time.sleep(random.uniform(0.5, 1) * pause)
            pause = min(2 * pause, 0.05)
        return done

    def unlock(self):
        try:
            self.module.unlock(self.path)
            return HELD
        except OSError:
            return FAILED

    def close(self):
        pass


class FileLock:
    kind = "FileLock"

    def __init__(self, folder):
        import filelock

        self.timeout = filelock.Timeout
        self.lock = getattr(filelock, self.kind)(os.path.join(folder, "file"))

    def try_lock(self):
        try:
            self.lock.acquire(timeout=0)
            return HELD
        except self.timeout:
            return BUSY

    def wait(self):
        self.lock.acquire()  # polls, every 50 ms by default
        return HELD

    def unlock(self):
        self.lock.release()
        return HELD

    def close(self):
        pass


class SoftFileLock(FileLock):
    kind = "SoftFileLock"


class StrictSoftFileLock(FileLock):
    kind = "StrictSoftFileLock"


class Portalocker:
    def __init__(self, folder):
        import portalocker

        self.busy = (portalocker.LockException, portalocker.AlreadyLocked)
        self.open = lambda **how: portalocker.Lock(os.path.join(folder, "file"), **how)
        self.tries, self.waits = self.open(timeout=0, fail_when_locked=True), self.open(timeout=3600)
        self.held = None

    def try_lock(self):
        try:
            self.tries.acquire()
        except self.busy:
            return BUSY
        self.held = self.tries
        return HELD

    def wait(self):
        self.waits.acquire()  # polls, every 250 ms by default
        self.held = self.waits
        return HELD

    def unlock(self):
        self.held.release()
        return HELD

    def close(self):
        pass


class Fasteners(FileLock):
    """Its calls have the same names. It polls every 10 to 100 ms by default."""

    def __init__(self, folder):
        import fasteners

        self.lock = fasteners.InterProcessLock(os.path.join(folder, "file"))

    def try_lock(self):
        return HELD if self.lock.acquire(blocking=False) else BUSY


SUBJECTS = {"lockfolder-py": Lockfolder, "filelock": FileLock, "filelock-soft": SoftFileLock, "filelock-strict": StrictSoftFileLock, "portalocker": Portalocker, "fasteners": Fasteners}
now = time.monotonic_ns


def main():
    kind, folder = SUBJECTS[sys.argv[1]], sys.argv[2]
    lock = kind(folder)
    inside = None
    if len(sys.argv) > 3:
        fd = os.open(sys.argv[3], os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(fd, 4)
        inside = mmap.mmap(fd, 4)

    def switches():
        return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw

    def cycle(n, take):
        failures = 0
        began = now()
        for _ in range(n):
            if take() != HELD or lock.unlock() != HELD:
                failures += 1
        return now() - began, failures

    def busy(n):
        began = now()
        failures = sum(lock.try_lock() != BUSY for _ in range(n))
        return now() - began, failures

    def whole(n):
        failures = 0
        began = now()
        for _ in range(n):
            fresh = kind(folder)
            if fresh.try_lock() != HELD or fresh.unlock() != HELD:
                failures += 1
            fresh.close()
        return now() - began, failures

    def acquire():
        done = lock.wait()
        return now(), int(done != HELD)

    def release():
        time.sleep(0.002)
        began = now()
        done = lock.unlock()
        time.sleep(0.001)
        return began, int(done != HELD)

    def turn():
        before = switches()
        done = lock.wait() or lock.unlock()
        return switches() - before, int(done != HELD)

    def contend(begin, end):
        locks = failures = overlaps = 0
        before, me, nobody = switches(), struct.pack("i", os.getpid()), bytes(4)
        counts = False
        while now() < end:
            if not counts and now() >= begin:
                counts = True
                locks = failures = overlaps = 0
                before = switches()
            if lock.wait() != HELD:
                failures += 1
                continue
            overlaps += inside[:] != nobody
            inside[:] = me
            locks += now() < end
            overlaps += inside[:] != me
            inside[:] = nobody
            failures += lock.unlock() != HELD
        return locks, failures, overlaps, switches() - before

    commands = {
        "cycle": lambda n: cycle(n, lock.try_lock),
        "wait": lambda n: cycle(n, lock.wait),
        "busy": busy,
        "whole": whole,
        "acquire": acquire,
        "release": release,
        "turn": turn,
        "contend": contend,
    }
    print("ready", flush=True)
    for line in iter(sys.stdin.readline, ""):
        command, *numbers = line.split()
        print(*commands[command](*map(int, numbers)), flush=True)


main()
