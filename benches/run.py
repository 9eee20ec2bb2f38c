"""Measures the locks side by side. scripts/bench builds them and then calls this; docs/benchmarks.md says how to read it."""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import measure
import peer
import report

PARTS = ["cycle", "wait", "busy", "whole", "beside_files", "beside_handles", "reap", "contention", "held", "handover", "in_line", "crash", "waiting", "threads"]
COMPARED = ["cycle", "wait", "busy", "whole", "contention", "held", "handover", "in_line", "crash"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="show that everything runs; leave docs/ as it is")
    parser.add_argument("--busy", action="store_true", help="measure although the machine has other work")
    parser.add_argument("--report", action="store_true", help="measure nothing: write docs/ anew from the last results")
    parser.add_argument("--only", action="append", choices=[*PARTS, "counts", "library"], help="this part alone; leave docs/ as it is")
    parser.add_argument("--beside", metavar="FOLDER", help="compare with the liblockfolder.so.0 in this folder; leave docs/ as it is")
    options = parser.parse_args()
    results_file = peer.OUT / "results.json"
    if options.report:
        return report.write(json.loads(results_file.read_text()))

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the clean-up below runs
    if not options.quick and not options.only and not options.busy:
        wait_for_rest()
    wanted = options.only or [*PARTS, "counts", "library"]
    if options.beside:
        peer.compare_with(options.beside)
        wanted = options.only or COMPARED
    results = {"machine": machine()}
    if results["machine"]["inotify_instances"] < 1:
        print("WARNING: this machine allows no inotify instances (fs.inotify.max_user_instances), so waiters poll", file=sys.stderr)
    began = time.monotonic()
    try:
        for base in (peer.OUT, Path("/dev/shm")):
            bench = measure.Bench(base, options.quick)
            kind = filesystem(base)
            print(f"on {kind}, {base}:", flush=True)
            for part in wanted:
                # A measurement that does not depend on the filesystem is made once.
                if part in PARTS or part == "counts" and base == peer.OUT:
                    at = time.monotonic()
                    results.setdefault(part, {})[kind] = getattr(bench, part)()
                    print(f"  {part}: {time.monotonic() - at:.0f} s", flush=True)
        if "library" in wanted:
            results["library"] = measure.library(options.quick)
    finally:
        peer.end_all()
    print(f"{time.monotonic() - began:.0f} s in all")
    if found := troubles(results):
        sys.exit("this is wrong, however fast it was:\n  " + "\n  ".join(found))

    if options.beside:
        return print(report.beside(results))
    if options.quick or options.only:
        results_file = peer.OUT / "results-part.json"
    results_file.write_text(json.dumps(results, indent=1) + "\n")
    print(f"wrote {os.path.relpath(results_file)}")
    if options.quick:
        return print("a quick run: its figures mean little")
    if not options.only:
        report.write(results)
    print(report.must_show(results))


def troubles(results, path=""):
    """Where a lock of ours failed, or let two in. Failures of other locks are shown as their properties."""
    found = []
    for key, value in results.items():
        at = f"{path}/{key}"
        if isinstance(value, dict):
            found += troubles(value, at)
        elif value and key in ("failures", "overlaps") and "/ours" in path:
            found.append(f"{at}: {value}")
    return found


def wait_for_rest(minutes=10):
    """Figures that are taken beside other work mislead, so there are none."""
    end = time.monotonic() + 60 * minutes
    while (load := os.getloadavg()[0]) >= 0.5:
        if time.monotonic() > end:
            sys.exit(f"bench: the machine is busy (load average {load:.1f}); 0.5 is the most that is measured beside. --busy measures all the same")
        print(f"the load average is {load:.1f}; waiting until it is below 0.5", flush=True)
        time.sleep(15)


def filesystem(path):
    return subprocess.run(["stat", "-f", "-c", "%T", path], check=True, capture_output=True, text=True).stdout.strip().replace("ext2/ext3", "ext4")  # one number for all three


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    version = lambda *argv: subprocess.run(argv, capture_output=True, text=True).stdout.strip()
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "processors": f"{os.cpu_count()} × {model}",
        "kernel": platform.release().split("-")[0],
        "compiler": version("rustc", "--version"),
        "revision": version("git", "-C", peer.ROOT, "describe", "--always", "--dirty"),
        "load": os.getloadavg()[0],
        "inotify_instances": int(Path("/proc/sys/fs/inotify/max_user_instances").read_text()),
    }


if __name__ == "__main__":
    main()
