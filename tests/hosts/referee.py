"""The referee: it sees who believes to hold the lock, and when. It stands outside of the filesystem under test.

Each claimant has a connection, and sends lines:

    hello NAME          its name is HOST.NUMBER
    wait                it wants the lock
    in TOKEN            it has locked; the answer is `y`, or `n`: the token is refused
    out                 its work is over; it is answered, so nobody can be in before this is known
    ok | lost           what lf_unlock said: it held the lock all the time, or it lost it
    error CALL STATUS…  a call failed

A claimant that says "ok" claims that it held the lock from before its "in" until after its "out". That is false if

- a newer token was let in meanwhile ("overtaken"),
- its own token was refused, because a newer one had been seen before.

A token that two have is a violation in any case. A claimant whose connection ends without "ok" or "lost" claims
nothing: it was killed. A host that loses its power can't close a connection: `forget` does that.
"""

import collections
import selectors
import socket
import threading
import time

PORT = 7000


class Claimant:
    def __init__(self, connection):
        self.connection = connection
        self.name = "?"
        self.rest = b""
        self.waits = False
        self.inside = False
        self.token = 0
        self.overtaken_by = None
        self.refused = False

    @property
    def host(self):
        return self.name.partition(".")[0]


class Referee:
    def __init__(self, address):
        self.violations = []
        self.locks = collections.Counter()  # by host
        self.lost = 0
        self.takeovers = 0
        self.refusals = 0
        self.errors = collections.Counter()
        self.messages = {}  # the first of each kind of error
        self.longest_wait = 0.0
        self._longest_of_phase = 0.0
        self._largest = 0
        self._claimants = {}
        self._nobody_since = None
        self._changed = threading.Condition()
        self._history = collections.deque(maxlen=12)
        self._began = time.monotonic()
        self._listener = socket.create_server((address, PORT), backlog=128)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._ended = False
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    # ---- what the scenarios ask ----

    def await_true(self, question, seconds):
        """Waits until the question (a function of the referee) is answered with yes. False: the time was over first."""
        with self._changed:
            return self._changed.wait_for(lambda: question(self), seconds)

    def begin_phase(self):
        """The longest time since the last call in which somebody waited and nobody was in."""
        with self._changed:
            self._look()
            longest, self._longest_of_phase = self._longest_of_phase, 0.0
            if self._nobody_since is not None:
                self._nobody_since = time.monotonic()
            return longest

    def inside(self, host):
        """Somebody of the host works with the lock."""
        return any(claimant.inside and claimant.host == host for claimant in self._claimants.values())

    def forget(self, host):
        """The host is gone, with all that ran there."""
        with self._changed:
            for claimant in list(self._claimants.values()):
                if claimant.host == host:
                    self._end(claimant)

    def end(self):
        self._ended = True
        self._thread.join()
        with self._changed:
            self._look()
            for claimant in list(self._claimants.values()):
                self._end(claimant)
        self._listener.close()
        self._selector.close()

    # ---- what it hears ----

    def _listen(self):
        while not self._ended:
            for key, _ in self._selector.select(0.1):
                if key.fileobj is self._listener:
                    connection, _ = self._listener.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    with self._changed:
                        self._claimants[connection] = Claimant(connection)
                        self._selector.register(connection, selectors.EVENT_READ)
                else:
                    with self._changed:
                        self._hear(key.fileobj)
                        self._look()
                        self._changed.notify_all()

    def _hear(self, connection):
        claimant = self._claimants.get(connection)
        if claimant is None:  # forgotten a moment ago
            return
        try:
            more = connection.recv(65536)
        except OSError:
            more = b""
        if not more:
            self._end(claimant)
            return
        *lines, claimant.rest = (claimant.rest + more).split(b"\n")
        for line in lines:
            self._line(claimant, line.decode(errors="replace"))

    def _line(self, claimant, line):
        word, _, rest = line.partition(" ")
        if word not in ("wait", "hello", "error"):
            self._history.append(f"{time.monotonic() - self._began:.3f} {claimant.name} {line}")
        if word == "hello":
            claimant.name = rest
        elif word == "wait":
            claimant.waits = True
        elif word == "in":
            self._in(claimant, int(rest))
        elif word == "out":
            claimant.inside = False
            self._answer(claimant, b"y")
        elif word in ("ok", "lost"):
            self._verdict(claimant, word == "ok")
        elif word == "error":
            kind = " ".join(rest.split()[:2])
            self.errors[kind] += 1
            self.messages.setdefault(kind, f"{claimant.name}: {rest}")

    def _in(self, claimant, token):
        claimant.waits = False
        claimant.token = token
        claimant.overtaken_by = None
        claimant.refused = token <= self._largest
        if token == self._largest:
            self._violation(f"{claimant.name} has token {token}, which was given before")
        if claimant.refused:
            self.refusals += 1
            self._answer(claimant, b"n")
            return
        self._largest = token
        for other in self._claimants.values():
            if other.inside:
                other.overtaken_by = f"{claimant.name} (token {token})"
        claimant.inside = True
        self.locks[claimant.host] += 1
        self._answer(claimant, b"y")

    def _verdict(self, claimant, ok):
        if not ok:
            self.lost += 1
            self.takeovers += claimant.overtaken_by is not None or claimant.refused
        elif claimant.overtaken_by:
            who = f"{claimant.name} (token {claimant.token})"
            self._violation(f"{who} says ok, but was overtaken by {claimant.overtaken_by}")
        elif claimant.refused:
            self._violation(f"{claimant.name} says ok, but its token {claimant.token} was refused")
        claimant.overtaken_by = None
        claimant.refused = False

    def _violation(self, text):
        self.violations.append(text + "".join(f"\n        {event}" for event in self._history))

    def _answer(self, claimant, answer):
        try:
            claimant.connection.sendall(answer)
        except OSError:
            self._end(claimant)

    def _end(self, claimant):
        if self._claimants.pop(claimant.connection, None):
            self._selector.unregister(claimant.connection)
            claimant.connection.close()
            claimant.inside = False

    def _look(self):
        """Measures how long nobody has been in while somebody waited."""
        now = time.monotonic()
        if self._nobody_since is not None:
            self.longest_wait = max(self.longest_wait, now - self._nobody_since)
            self._longest_of_phase = max(self._longest_of_phase, now - self._nobody_since)
        claimants = self._claimants.values()
        if any(claimant.inside for claimant in claimants) or not any(claimant.waits for claimant in claimants):
            self._nobody_since = None
        elif self._nobody_since is None:
            self._nobody_since = now
