"""What happens to the claimants, by name. Each scenario has a folder of its own and a referee of its own."""

import itertools
import re
import time
from dataclasses import dataclass, field

from lab import CLIENTS, HOST
from referee import Referee

FLAGS = 0
LEASE_MS = 15_000  # shorter than the default, so that a takeover does not take long
TAKEOVER_GUARD = 150  # seconds; longer than the 90 s for which knfsd waits for a client that is gone
SERVICE_GUARD = 120  # seconds in which each host must get the lock once
END_GUARD = 180  # seconds that claimants may need to end: a call on a hard mount can't be interrupted

SCENARIOS = {}
numbers = itertools.count(1)


@dataclass
class Options:
    seconds: int = 0  # 0: as long as the scenario wants
    flags: int = FLAGS
    lease: int = LEASE_MS
    processes: int = 4  # on each client


@dataclass
class Scenario:
    name: str
    play: object
    seconds: int


@dataclass
class Result:
    mount: str
    scenario: str
    seconds: float
    locks: int
    violations: int
    longest_wait: float
    lost: int
    refusals: int
    kills: int
    longest: dict
    left: object
    faults: list = field(default_factory=list)
    notes: list = field(default_factory=list)


def scenario(name, seconds):
    def register(play):
        SCENARIOS[name] = Scenario(name, play, seconds)
        return play

    return register


class Contest:
    """Claimants of both clients on one new folder."""

    def __init__(self, lab, mount, options, seconds):
        self.lab = lab
        self.options = options
        self.seconds = options.seconds or seconds
        self.folder = f"contest-{next(numbers)}"
        self.path = f"/mnt/{mount}/{self.folder}"
        self.faults = []
        self.notes = []
        self.longest = {}  # for each part of a scenario: the longest time in which some waited and nobody was in
        self.left = None
        self.have_claims = True  # the broken ones have none
        self.may_lose = False  # with leases, a holder that can't reach the server for long loses the lock, and may
        lab.server.run(f"mkdir -m 777 /srv/{self.folder}")
        self.referee = Referee(HOST)
        self.began = time.monotonic()
        self.jobs = []

    def start(self, *words, hosts=CLIENTS):
        for host in hosts:
            command = (
                f"claimant {self.path} {HOST} {host} --processes {self.options.processes}"
                f" --flags {self.options.flags} --lease {self.options.lease} {' '.join(words)}"
            )
            # `wait` gives the status. The PID is for signals.
            self.jobs.append(self.lab[host].start(f"{command} & echo $! >/run/claimant.pid; wait $!"))

    def signal(self, host, name):
        self.lab[host].run(f"kill -{name} $(cat /run/claimant.pid)")

    def cut(self, host):
        """The host loses its power. It can't close its connections any more."""
        self.lab[host].kill()
        self.referee.forget(host)
        for job in self.jobs:
            if job.guest.name == host:
                job.abandon()
        self.jobs = [job for job in self.jobs if job.guest.name != host]

    def rest_until(self, second):
        time.sleep(max(0, self.began + second - time.monotonic()))

    def finish(self, *served):
        """Ends the contest when its time is over, but not before each of these hosts has had the lock."""
        self.rest_until(self.seconds)
        for host in served:
            if not self.referee.await_true(lambda referee, host=host: referee.locks[host], SERVICE_GUARD):
                self.faults.append(f"{host} never got the lock")
        self.check_delegations()
        living = [job for job in self.jobs if not job.wait(0)]
        for job in living:
            self.signal(job.guest.name, "TERM")
        for job in living:
            if not job.wait(END_GUARD):
                self.faults.append(f"{job.guest.name}: claimants do not end")
                job.abandon()
                self.signal(job.guest.name, "KILL")
        for job in self.jobs:
            if job.status not in (0, 128 + 9, None):
                self.faults.append(f"{job.guest.name}: {job.text.strip()}")
            self.notes += [f"{job.guest.name}: {line}" for line in re.findall("^kills [1-9].*", job.text, re.M)]
        self.referee.end()

    def check_delegations(self):
        """A file that is delegated to a host that stands still can make all others wait for 90 s."""
        states = self.states().splitlines()
        delegated = [state for state in states if "type: deleg" in state]
        if delegated:
            self.faults.append(f"{len(delegated)} files are delegated: {delegated[0]}")
        # Each claimant keeps its claim open. Without that, this look has seen nothing.
        if "/nfs4" in self.path and self.have_claims and not any("type: open" in state for state in states):
            self.faults.append("the server does not say which files are open or delegated")

    def states(self):
        """What the clients of NFS 4 have open or delegated, as the server sees it."""
        return self.lab.server.run("cat /proc/fs/nfsd/clients/*/states 2>/dev/null || true")


def play(lab, mount, chosen, options):
    contest = Contest(lab, mount, options, chosen.seconds)
    referee = contest.referee
    try:
        chosen.play(contest)
    finally:
        referee.end()
    if referee.lost and not contest.may_lose:
        contest.faults.append(f"{referee.lost} holds were lost, though nothing happened to the holders")
    if chosen.name != "broken":
        contest.faults += [f"VIOLATION: {violation}" for violation in referee.violations[:3]]
    for kind, count in referee.errors.items():
        contest.notes.append(f"{count} x {kind}: {referee.messages[kind]}")
    if referee.takeovers or referee.refusals:
        contest.notes.append(f"{referee.takeovers} takeovers, {referee.refusals} tokens refused")
    return Result(
        mount, chosen.name, time.monotonic() - contest.began, referee.locks.total(), len(referee.violations),
        referee.longest_wait, referee.lost, referee.refusals,
        sum(int(note.split()[2]) for note in contest.notes if re.match("c[12]: kills ", note)),
        contest.longest, contest.left, contest.faults, contest.notes,
    )  # fmt: skip


def bids_left(contest):
    """Claimants that ended by themselves leave no bid."""
    left = contest.lab.server.run(f"ls /srv/{contest.folder}").split()
    if left:
        contest.faults.append(f"left in the folder: {' '.join(left[:5])}")


# ---- what today's library must do ----


@scenario("exclusion", 60)
def exclusion(contest):
    """Nothing happens. All wait for the lock."""
    contest.start()
    contest.finish(*CLIENTS)
    bids_left(contest)


@scenario("tries", 30)
def tries(contest):
    """Nobody waits: all try again and again."""
    contest.start("--how", "try")
    contest.finish(*CLIENTS)
    bids_left(contest)


@scenario("kills", 60)
def kills(contest):
    """Processes are killed, and others of the same host take their place: these can tell that the owner is gone."""
    contest.start("--kill-every", "2000")
    contest.finish(*CLIENTS)


@scenario("loss", 60)
def loss(contest):
    """Each guest loses 15 of 100 packets."""
    contest.may_lose = True
    contest.lab.lose_packets(15)
    try:
        contest.start()
        contest.finish(*CLIENTS)
    finally:
        contest.lab.lose_packets(0)


def lock_after(contest, what):
    before = contest.referee.locks.total()
    if not contest.referee.await_true(lambda referee: referee.locks.total() > before, TAKEOVER_GUARD):
        contest.faults.append(f"no lock after {what}")


@scenario("restart", 45)
def restart(contest):
    """The services of the server begin anew. NFS then waits 90 s, so that clients can claim back what they had."""
    contest.may_lose = True
    contest.start()
    contest.rest_until(10)
    contest.lab.restart_service()
    lock_after(contest, "the restart")
    contest.finish()


@scenario("server-cut", 60)
def server_cut(contest):
    """The server loses its power and boots again. No token may come twice."""
    contest.may_lose = True
    contest.start()
    contest.rest_until(10)
    contest.lab.cut_server()
    lock_after(contest, "the power cut")
    contest.finish()


# ---- what a lease decides ----


def start_and_catch_holder(contest):
    """Holds are long, so that what happens next happens to a holder. It is on c1."""
    contest.may_lose = True
    contest.start("--work", "3000")
    if not contest.referee.await_true(lambda referee: referee.inside("c1"), 60):
        contest.faults.append("c1 never got the lock")
        contest.notes += evidence(contest, *CLIENTS)


def evidence(contest, *hosts):
    """What stands in the folder, what is open or delegated on the server, and what the claimants of these hosts wait for."""
    stacks = "for pid in $(pidof claimant); do echo $pid; head -n 8 /proc/$pid/stack; done"
    return [
        contest.lab.server.run(f"date; cd /srv/{contest.folder}; ls -laiR --time-style=full-iso; tail -n +1 *.json || true"),
        contest.states(),
        *(contest.lab[host].run(f"echo {host}; {stacks}; sleep 2; {stacks}; dmesg | tail -n 5") for host in hosts),
    ]


def taken_over(contest, what, seconds=TAKEOVER_GUARD):
    before = contest.referee.locks["c2"]
    began = time.monotonic()
    if contest.referee.await_true(lambda referee: referee.locks["c2"] > before, seconds):
        contest.notes.append(f"c2 took over after {time.monotonic() - began:.1f} s")
    else:
        contest.faults.append(f"{what}: c2 did not get the lock within {seconds} s")
        contest.notes += evidence(contest, "c2")


@scenario("host-paused", 90)
def host_paused(contest):
    """The holder's host stands still for 45 s. Others take over, and the holder learns that it lost the lock."""
    start_and_catch_holder(contest)
    contest.lab["c1"].stop()
    stopped = time.monotonic()
    taken_over(contest, "the host stands still", 45)
    time.sleep(max(0, stopped + 45 - time.monotonic()))
    contest.lab["c1"].cont()
    contest.finish()
    if not contest.referee.lost:
        contest.faults.append("the holder did not learn that it lost the lock")


@scenario("host-cut", 60)
def host_cut(contest):
    """The holder's host loses its power, and comes back."""
    start_and_catch_holder(contest)
    contest.cut("c1")
    taken_over(contest, "the host lost its power")
    contest.lab.boot_client("c1")
    before = contest.referee.locks["c1"]
    contest.start(hosts=("c1",))
    if not contest.referee.await_true(lambda referee: referee.locks["c1"] > before, TAKEOVER_GUARD):
        contest.faults.append("c1 came back, and did not get the lock")
    contest.finish()


@scenario("others-killed", 60)
def others_killed(contest):
    """All claimants of the holder's host are killed. The other host can't tell that, and must go on nevertheless."""
    start_and_catch_holder(contest)
    contest.signal("c1", "KILL")
    taken_over(contest, "the processes were killed")
    contest.finish()


# ---- all of it, for ten minutes ----


@scenario("everything", 600)
def everything(contest):
    """Processes are killed all the time. A host is paused, packets are lost, the server begins anew, a host loses its power."""
    contest.may_lose = True
    lab, referee = contest.lab, contest.referee
    part = contest.seconds / 10

    def phase(name, end):
        contest.rest_until(end * part)
        contest.longest[name] = referee.begin_phase()

    contest.start("--kill-every", "2000")
    phase("nothing else", 2)
    lab["c1"].stop()
    paused = time.monotonic()
    time.sleep(45)
    lab["c1"].cont()
    contest.notes.append(f"c1 stood still for {time.monotonic() - paused:.0f} s")
    phase("a host stands still", 4)
    lab.lose_packets(10)
    contest.rest_until(5 * part)
    lab.lose_packets(0)
    phase("packets are lost", 5)
    lab.restart_service()
    phase("the server begins anew", 7)
    contest.cut("c1")
    lab.boot_client("c1")
    contest.start("--kill-every", "2000", hosts=("c1",))
    phase("a host loses its power", 10)
    contest.finish(*CLIENTS)
    # The claimants that were killed last may leave bids, because nobody locked after them.
    contest.left = contest.lab.server.run(f"ls /srv/{contest.folder}").split()


# ---- the test of the test ----


@scenario("broken", 10)
def broken(contest):
    """Nobody locks. The referee must see that: by holds that overlap, and by tokens."""
    contest.seconds = 10
    contest.have_claims = False
    contest.start("--broken")
    contest.finish()
    seen = " ".join(contest.referee.violations)
    for what in ("was overtaken by", "was refused", "was given before"):
        if what not in seen:
            contest.faults.append(f"without a lock, the referee sees nobody that {what}")
