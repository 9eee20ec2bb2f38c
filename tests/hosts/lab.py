"""Guests of qemu on a bridge: a server and two clients.

The caller runs in a network namespace and a PID namespace of its own (`run` sees to that). So nothing here reaches
another network, and all of it ends with the caller, however that ends.
"""

import os
import pathlib
import signal
import socket
import subprocess
import threading
import time

HOST = "10.77.0.1"  # the bridge, where the referee listens
ADDRESSES = {"server": "10.77.0.10", "c1": "10.77.0.11", "c2": "10.77.0.12"}
CLIENTS = ("c1", "c2")
DOOR = 7777  # guest/init listens here
BOOT_GUARD = 180  # seconds; an emulated guest takes 5 to 30
COMMAND_GUARD = 120


class LabError(Exception):
    pass


class Job:
    """A script that runs in a guest."""

    def __init__(self, guest, script):
        self.guest = guest
        self.text = ""
        self.status = None  # stays None if the guest dies first
        self._done = b"\n\004STATUS="
        self._connection = guest.connect()
        self._connection.sendall(
            f"{{ {script}\n}} </dev/null 2>&1; printf '\\n\\004STATUS=%d\\n' $?; exit\n".encode()
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        # The end of the script is a mark, because a daemon that it started keeps the connection open.
        seen = b""
        try:
            while self._done not in seen or not seen.endswith(b"\n"):
                more = self._connection.recv(65536)
                if not more:
                    break
                seen += more
        except OSError:
            pass
        text, mark, status = seen.partition(self._done)
        self.text = text.decode(errors="replace")
        if mark:
            self.status = int(status)
        self._connection.close()

    def wait(self, seconds=COMMAND_GUARD):
        """True if the script is over."""
        self._thread.join(max(0, seconds))
        return not self._thread.is_alive()

    def abandon(self):
        try:
            self._connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class Guest:
    def __init__(self, lab, name):
        self.lab = lab
        self.name = name
        self.address = ADDRESSES[name]
        self.process = None
        self.log = lab.logs / f"{name}.console"

    def boot(self):
        """Begins to boot. `await_up` waits for the end of it."""
        images = self.lab.images
        command = [
            "qemu-system-x86_64", "-name", self.name, "-machine", "pc,accel=tcg", "-cpu", "max", "-m", "768",
            "-display", "none", "-nodefaults", "-no-reboot",
            "-kernel", images / "vmlinuz", "-initrd", images / "initrd.img",
            "-append", f"console=ttyS0 quiet panic=1 lab.name={self.name} lab.address={self.address}",
            "-drive", f"file={images}/root.img,format=raw,if=virtio,snapshot=on,file.locking=off",
        ]  # fmt: skip
        if self.name == "server":
            # What qemu has written is in the cache of this machine, which outlives qemu. So it need not flush.
            command += ["-drive", f"file={self.lab.disk},format=raw,if=virtio,cache=unsafe"]
        command += [
            "-netdev", f"tap,id=net,ifname=t-{self.name},script=no,downscript=no",
            "-device", f"virtio-net-pci,netdev=net,mac=52:54:00:77:00:{self.address.rpartition('.')[2]},romfile=",
            "-device", "virtio-rng-pci", "-serial", f"file:{self.log}",
        ]  # fmt: skip
        self.log.write_bytes(b"")
        with open(self.lab.logs / f"{self.name}.qemu", "wb") as output:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env={**os.environ, "TMPDIR": str(self.lab.run)},
            )  # fmt: skip

    def await_up(self):
        end = time.monotonic() + BOOT_GUARD
        while b"LAB-UP" not in self.log.read_bytes():
            if self.process.poll() is not None:
                raise LabError(f"qemu of {self.name} ended: see {self.lab.logs}/{self.name}.qemu")
            if time.monotonic() > end:
                raise LabError(f"{self.name} does not come up: see {self.log}")
            time.sleep(0.05)

    def connect(self):
        end = time.monotonic() + COMMAND_GUARD
        while True:
            try:
                connection = socket.create_connection((self.address, DOOR), timeout=5)
                connection.settimeout(None)
                return connection
            except OSError as error:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise LabError(f"{self.name} does not answer: {error}") from error
                time.sleep(0.1)

    def start(self, script):
        return Job(self, script)

    def run(self, script, seconds=COMMAND_GUARD):
        """Gives what the script prints. A script that fails is an error."""
        job = Job(self, script)
        if not job.wait(seconds):
            job.abandon()
            raise LabError(f"{self.name}: no end after {seconds} s: {script}")
        if job.status != 0:
            raise LabError(f"{self.name}: {script}: status {job.status}: {job.text.strip()}")
        return job.text

    def stop(self):
        """The whole host stands still, as a laptop that sleeps or a guest that is moved."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def cont(self):
        os.kill(self.process.pid, signal.SIGCONT)

    def kill(self):
        """The power is cut."""
        self.process.kill()
        self.process.wait()


class Lab:
    def __init__(self, images, run):
        self.images = pathlib.Path(images)
        self.run = pathlib.Path(run)
        self.logs = self.images / "logs"
        self.logs.mkdir(exist_ok=True)
        self.disk = self.run / "server.img"
        self.mounts = []
        self.guests = {name: Guest(self, name) for name in ADDRESSES}
        self.server = self.guests["server"]
        self.clients = [self.guests[name] for name in CLIENTS]

    def __getitem__(self, name):
        return self.guests[name]

    def up(self):
        """All guests boot, and the server serves."""
        self._network()
        with open(self.disk, "wb") as disk:
            disk.truncate(4 << 30)  # a sparse file: it takes what is written
        for guest in self.guests.values():
            guest.boot()
        for guest in self.guests.values():
            guest.await_up()
        self.server.run("serve")

    def _network(self):
        def ip(*words):
            subprocess.run(["ip", *words], check=True)

        ip("link", "set", "lo", "up")
        ip("link", "add", "br0", "type", "bridge")
        ip("address", "add", f"{HOST}/24", "dev", "br0")
        ip("link", "set", "br0", "up")
        for name in ADDRESSES:
            ip("tuntap", "add", f"t-{name}", "mode", "tap")
            ip("link", "set", f"t-{name}", "master", "br0", "up")

    def down(self):
        for guest in self.guests.values():
            if guest.process is not None and guest.process.poll() is None:
                guest.kill()

    def attach(self, mount):
        """Mounts one type in both clients."""
        if mount not in self.mounts:
            for client in self.clients:
                client.run(f"attach {mount}")
            self.mounts.append(mount)

    def boot_client(self, name):
        """A client whose power was cut comes back, with its mounts."""
        self[name].boot()
        self[name].await_up()
        for mount in self.mounts:
            self[name].run(f"attach {mount}", 300)

    def restart_service(self):
        self.server.run("serve restart")

    def cut_server(self):
        """The server loses its power and boots again."""
        self.server.kill()
        self.server.boot()
        self.server.await_up()
        self.server.run("serve")

    def lose_packets(self, percent):
        """Each guest loses this share of what it sends. The guest's kernel does it: this machine's may lack netem."""
        for guest in self.guests.values():
            if percent:
                guest.run(f"modprobe sch_netem && tc qdisc replace dev eth0 root netem loss {percent}%")
            else:
                guest.run("tc qdisc del dev eth0 root")
