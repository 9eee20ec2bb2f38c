"""Counts the calls to the server, beside the fewest with which the same could be done by hand."""

import collections
import re

CYCLES = 20
WAITERS = 100
SECONDS = 30


def operations(counters, path):
    """The calls of one mount, from /proc/self/mountstats."""
    section = re.search(rf"^device \S+ mounted on {re.escape(path)} .*?(?=^device |\Z)", counters, re.S | re.M)
    found = collections.Counter()
    if section:
        per_op = section[0].partition("per-op statistics")[2]
        for name, calls in re.findall(r"^\s*(\w+): (\d+) ", per_op, re.M):
            found[name] = int(calls)
    return found


def count(lab, mounts, options):
    client = lab["c1"]
    for mount in mounts:
        path = f"/mnt/{mount}"
        if mount.startswith("smb"):
            print(f"{mount}: the kernel counts no calls of this type in /proc/self/mountstats")
            continue
        for how in ("lock", "hand"):
            folder = f"rpcs-{mount}-{how}"
            lab.server.run(f"mkdir -m 777 /srv/{folder}")
            printed = client.run(f"rpcs {how} {path}/{folder} {CYCLES} {options.flags}")
            what = "lf_lock, lf_unlock" if how == "lock" else "list, link, list, unlink"
            show(mount, path, what, printed, CYCLES)
        folder = f"rpcs-{mount}-wait"
        lab.server.run(f"mkdir -m 777 /srv/{folder}")
        for waiters in (0, WAITERS):
            printed = client.run(f"rpcs wait {path}/{folder} {SECONDS} {options.flags} {waiters}", 200)
            show(mount, path, f"a second, a holder and {waiters} waiters", printed, SECONDS)
    return 0


def show(mount, path, what, printed, times):
    """How many calls one of these makes, by the counters before and after so many."""
    before, after, _ = (operations(part, path) for part in printed.split("----\n"))
    calls = after - before
    each = ", ".join(f"{name} {number / times:.3g}" for name, number in calls.most_common())
    print(f"{mount:8} {what:40} {calls.total() / times:6.2f} calls: {each}", flush=True)
