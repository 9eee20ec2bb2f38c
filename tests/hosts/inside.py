"""The part of `run` that is in namespaces of its own: it boots the lab, plays what was asked, prints results."""

import os
import pathlib
import runpy
import sys
import time

import rpcs
import scenarios
from lab import Lab, LabError

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
IMAGES = ROOT / "target" / "hosts"
MOUNTS = ("nfs3", "nfs4.1", "nfs4.2")
TIME_FOR_ALL = 58 * 60  # seconds; what would begin later is not run
COLUMNS = "mount scenario seconds locks violations longest-wait verdict".split()


class Report:
    """The table, on the screen and in a file."""

    def __init__(self):
        self.file = open(IMAGES / "results.tsv", "w", encoding="utf-8")
        self.failed = 0
        self._row(COLUMNS)

    def _row(self, cells):
        self.file.write("\t".join(cells) + "\n")
        self.file.flush()
        print("{:9} {:14} {:>8} {:>6} {:>11} {:>13}  {}".format(*cells), flush=True)

    def add(self, result):
        self.failed += bool(result.faults)
        self._row([
            result.mount, result.scenario, f"{result.seconds:.0f}", str(result.locks), str(result.violations),
            f"{result.longest_wait:.1f}", "FAILED" if result.faults else "good",
        ])  # fmt: skip
        for line in result.faults + result.notes:
            print(f"    {line}", flush=True)

        if result.longest:
            self._write_to_docs(result)

    def _write_to_docs(self, result):
        """A row of docs/filesystems.md is what a run of `everything` saw."""
        cells = [result.mount, f"{result.seconds / 60:.0f} min", f"{result.locks:,}", str(result.kills), str(result.violations)]
        cells += [f"{seconds:.1f} s" for seconds in result.longest.values()]
        cells += [str(result.lost), str(result.refusals), str(len(result.left))]
        row = "| " + " | ".join(cells) + " |"
        print(f"    {', '.join(result.longest)}\n    {row}", flush=True)
        if os.environ.get("LOCKFOLDER_WRITE_TABLE") and not result.faults:
            path = ROOT / "docs" / "filesystems.md"
            lines = path.read_text(encoding="utf-8").splitlines()
            end = lines.index("<!-- end of the table of hosts -->")
            kept = [line for line in lines[:end] if not line.startswith(f"| {result.mount} |")]
            path.write_text("\n".join([*kept, row, *lines[end:]]) + "\n", encoding="utf-8")

    def leave_out(self, mount, name, why):
        self._row([mount, name, "-", "-", "-", "-", f"NOT RUN: {why}"])
        return f"hosts: {name} on {mount}: {why}"


def skip(what):
    """scripts/test names what could not be run."""
    if os.environ.get("LOCKFOLDER_SKIPPED"):
        with open(os.environ["LOCKFOLDER_SKIPPED"], "a", encoding="utf-8") as skipped:
            skipped.write(what + "\n")
    else:
        print(f"!!! NOT RUN: {what}", file=sys.stderr)


def attach(lab, mount):
    try:
        lab.attach(mount)
        return True
    except LabError as error:
        print(error, file=sys.stderr)
        return False


def play(lab, plan, options):
    """Plays scenarios on mounts, and gives the exit status."""
    began = time.monotonic()
    report = Report()
    for mount, name in plan:
        chosen = scenarios.SCENARIOS[name]
        if not attach(lab, mount):
            report.failed += 1
            skip(report.leave_out(mount, name, "the client can't mount it"))
        elif time.monotonic() - began > TIME_FOR_ALL:
            skip(report.leave_out(mount, name, "no time left"))
        else:
            try:
                report.add(scenarios.play(lab, mount, chosen, options))
            except LabError as error:
                report.add(scenarios.Result(mount, name, 0, 0, 0, 0, 0, 0, 0, {}, None, [str(error)]))
    return 1 if report.failed else 0


def prompt(lab):
    """Commands by hand, or by a script."""
    for line in sys.stdin:
        word, _, rest = line.strip().partition(" ")
        try:
            if word in lab.guests:
                print(lab[word].run(rest).rstrip(), flush=True)
            elif word == "both":
                for client in lab.clients:
                    print(f"{client.name}: {client.run(rest).rstrip()}", flush=True)
            elif word in ("stop", "cont", "kill"):
                getattr(lab[rest], word)()
            elif word == "boot":
                lab.boot_client(rest)
            elif word == "restart":
                lab.restart_service()
            elif word == "cut":
                lab.cut_server()
            elif word == "loss":
                lab.lose_packets(int(rest))
            elif word:
                print("server|c1|c2|both COMMAND, stop|cont|kill|boot CLIENT, restart, cut (the server), loss PERCENT")
        except (LabError, KeyError, ValueError) as error:
            print(f"! {error}", flush=True)
    return 0


def main():
    given = runpy.run_path(str(HERE / "run"))["arguments"]()
    if given.list:
        for chosen in scenarios.SCENARIOS.values():
            print(f"{chosen.name:14} {chosen.play.__doc__}")
        return 0
    numbers = {name: getattr(given, name) for name in ("flags", "lease", "seconds", "processes")}
    options = scenarios.Options(**{name: value for name, value in numbers.items() if value is not None})
    mounts = given.mounts or MOUNTS
    if given.what == "quick":
        options.seconds = options.seconds or 30
        plan = [("nfs3", "broken"), ("nfs4.2", "kills"), ("nfs3", "kills"), ("nfs4.2", "host-paused"), ("nfs3", "host-cut")]
    elif given.what == "all":
        # The test of the test comes first. The scenarios that disturb the server come last.
        plan = [(mounts[0], "broken")]
        plan += [(mount, name) for name in scenarios.SCENARIOS if name not in ("broken", "everything") for mount in mounts]
    elif set((given.what or "").split(",")) <= set(scenarios.SCENARIOS):
        plan = [(mount, name) for name in given.what.split(",") for mount in mounts]
    elif given.what in ("rpcs", "prompt"):
        plan = None
    else:
        print("no such scenario; --list names them", file=sys.stderr)
        return 2
    lab = Lab(IMAGES, os.environ["LOCKFOLDER_HOSTS_RUN"])
    try:
        began = time.monotonic()
        lab.up()
        print(f"the lab is up after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        if plan is not None:
            return play(lab, plan, options)
        for mount in mounts:
            lab.attach(mount)
        if given.what == "prompt":
            return prompt(lab)
        return rpcs.count(lab, mounts, options)
    finally:
        lab.down()


if __name__ == "__main__":
    sys.exit(main())
