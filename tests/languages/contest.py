#!/usr/bin/env python3
"""Claimants in six languages compete for one folder, and some are killed: see README.md.

    contest.py [--rogue] SECONDS NAME=COMMAND...

Runs for SECONDS at least, until each claimant has had the lock and one was killed inside. With --rogue one of the claimants does not
take the lock. Then violations must be seen: this tests the test.
"""

import ctypes
import os
import pathlib
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

KILLS_PER_SECOND = 5
GUARD = 300  # seconds; ends a run that hangs, and measures nothing
VIOLATION = 3


def file_time():
    """The time of the clock that Linux uses for the times of files: CLOCK_REALTIME_COARSE."""
    return time.clock_gettime_ns(5)


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Contest:
    def __init__(self, place, commands):
        self.folder = place / "lock"
        self.arena = place / "arena"
        (self.arena / "found").mkdir(parents=True)
        self.commands = commands
        self.running = {}  # name: process
        self.killed = {}  # PID: the earliest time at which it was killed, by file_time()
        self.kills = {name: 0 for name in commands}
        self.faults = []

    def start(self, name):
        self.running[name] = subprocess.Popen([*self.commands[name], self.folder, self.arena], preexec_fn=die_with_parent)

    def run(self, seconds):
        for name in self.commands:
            self.start(name)
        began = time.monotonic()
        while time.monotonic() < began + seconds or self.unserved() or not self.found():
            if time.monotonic() > began + seconds + GUARD:
                self.faults.append(f"not served: {', '.join(self.unserved())}; {len(self.found())} were killed inside")
                break
            time.sleep(1 / KILLS_PER_SECOND)
            if self.watch():
                break
            if time.monotonic() < began + seconds or not self.found():
                self.kill_one()
        (self.arena / "stop").touch()
        for name, process in self.running.items():
            try:
                self.ended(name, process.wait(GUARD))
            except subprocess.TimeoutExpired:
                self.faults.append(f"{name} hangs")

    def watch(self):
        """True: a claimant has ended too early."""
        for name, process in self.running.items():
            if process.poll() is not None:
                self.faults.append(f"{name} ended too early, with {process.returncode}")
        return bool(self.faults)

    def ended(self, name, code):
        if code == VIOLATION:
            self.faults.append(f"{name} saw a violation")
        elif code != 0:
            self.faults.append(f"{name} ended with {code}")

    def kill_one(self):
        """Kills any claimant, or in half of the calls the one that is inside, if one is."""
        name = random.choice(list(self.running))
        if random.random() < 0.5:
            try:
                inside = int(os.readlink(self.arena / "inside"))
            except FileNotFoundError:
                inside = None
            name = next((name for name, process in self.running.items() if process.pid == inside), name)
        process = self.running[name]
        now = file_time()
        process.send_signal(signal.SIGKILL)
        if process.wait() != -signal.SIGKILL:
            self.ended(name, process.returncode)  # it had ended before the signal came
            return
        self.killed[process.pid] = min(now, self.killed.get(process.pid, now))
        self.kills[name] += 1
        self.start(name)

    def log(self):
        try:
            lines = (self.arena / "log").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [line.split(" ") for line in lines]

    def locks(self):
        counts = {name: 0 for name in self.commands}
        for name, _, _ in self.log():
            counts[name] += 1
        return counts

    def unserved(self):
        return [name for name, count in self.locks().items() if count == 0]

    def check(self):
        tokens = [int(token) for _, _, token in self.log() if not token.startswith("rogue")]
        if any(later <= earlier for earlier, later in zip(tokens, tokens[1:])):
            self.faults.append("the fencing tokens do not grow")
        for link in self.found():
            pid, moved = int(os.readlink(link)), link.lstat().st_ctime_ns
            if pid not in self.killed:
                self.faults.append(f"PID {pid} was inside with another, and was never killed")
            elif moved < self.killed[pid]:
                self.faults.append(f"PID {pid} was inside with another, before it was killed")
        return len(self.found())

    def found(self):
        """The links of the claimants that were killed inside."""
        return list((self.arena / "found").iterdir())

    def kill_all(self):
        for process in self.running.values():
            if process.poll() is None:
                process.kill()
            process.wait()


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    rogue = "--rogue" in sys.argv
    seconds, *entries = [argument for argument in sys.argv[1:] if argument != "--rogue"]
    commands = {name: shlex.split(command) for name, _, command in (entry.partition("=") for entry in entries)}
    place = pathlib.Path(tempfile.mkdtemp(prefix="contest-", dir=os.environ.get("CONTEST_DIR")))
    contest = Contest(place, commands)
    try:
        contest.run(float(seconds))
        found, locks = contest.check(), contest.locks()
    finally:
        contest.kill_all()
        shutil.rmtree(place)
    for name in commands:
        print(f"{name:8} {locks[name]:6} locks {contest.kills[name]:4} kills")
    print(f"{found} were killed inside")
    if rogue:
        seen = [fault for fault in contest.faults if "violation" in fault or "inside with another" in fault]
        print("with a rogue:", *seen[:3], sep="\n  ")
        return 0 if seen else "a rogue was inside with others, and no claimant saw it"
    return "\n".join(contest.faults) or None


sys.exit(main())
