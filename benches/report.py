"""From results to docs/benchmarks.md (the text between its markers) and docs/bench-*.svg."""

import re

import chart
import library
from chart import duration
from peer import ALL, FLOOR_TOLD, ROOT, THREADS

PAGE = ROOT / "docs/benchmarks.md"


def plain(label):
    return label.replace("*", "").replace("`", "")


def table(head, rows):
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def median(found, *path):
    """The median at a path of the results; None if that was not measured."""
    for key in path:
        if not isinstance(found, dict) or key not in found:
            return None
        found = found[key]
    return found["median"] if isinstance(found, dict) else found


def cell(stat):
    if not stat:
        return "–"
    failures = f", {stat['failures']} failed" if stat.get("failures") else ""
    return f"{duration(stat['median'])} <sub>{duration(stat['q1'])}–{duration(stat['q3'])}{failures}</sub>"


# ---- what the project promises ----


def promises(results):
    """Each promise: its text, at most or at least, the ratio, and the two numbers of the ratio."""
    get = lambda *path: median(results, *path)
    cycle = lambda key: get("cycle", "ext4", key)
    contention = results.get("contention", {}).get("ext4", {}).get("ours", {})
    held = results.get("held", {}).get("ext4", {}).get("ours", {})
    files = lambda count: get("beside_files", "ext4", count, "ours")
    waiting = get("waiting", "ext4", "ours", "cpu_ns")
    return [
        ("`lf_lock`+`lf_unlock`, to the bare system calls", "≤", 1.15, cycle("ours"), cycle("floor")),
        ("the same, to the `O_EXCL` lock file", "≤", 1, cycle("ours"), cycle("excl")),
        ("the Python package, to the same", "≥", 10, cycle("lockfolder-py"), cycle("ours")),
        ("`lf_lock_wait`+`lf_unlock`, to `lf_lock`+`lf_unlock`", "≤", 1.1, get("wait", "ext4", "ours"), cycle("ours")),
        ("a busy answer, the rival seen before, to one listing", "≤", 1.5, get("busy", "ext4", "ours"), get("busy", "ext4", "floor")),
        ("open, lock, unlock, close, to a cycle", "≤", 2.5, get("whole", "ext4", "ours"), cycle("ours")),
        ("the cycle beside 200 idle handles, to the cycle alone", "≤", 1.2, get("beside_handles", "ext4", "beside"), get("beside_handles", "ext4", "alone")),
        ("10,000 stale bids reaped, to the loop in C", "≤", 1.5, get("reap", "ext4", "ours"), get("reap", "ext4", "reap-loop")),
        ("the stripped library, to 600 KB", "≤", 1, get("library", "stripped"), 600_000),
        ("hand-over to the first waiter, to the bare calls", "≤", 1.3, get("handover", "ext4", "ours"), get("handover", "ext4", "floor")),
        ("hand-over in line, to the bare calls in the same order", "≤", 1.3, get("in_line", "ext4", "ours"), get("in_line", "ext4", "floor-told")),
        ("the same, to flock(2)'s", "≤", 2, get("in_line", "ext4", "ours"), get("in_line", "ext4", "flock")),
        ("after SIGKILL of the holder, to flock(2)'s", "≤", 1.5, get("crash", "ext4", "ours"), get("crash", "ext4", "flock")),
        ("Jain's index of 128 waiters", "≥", 0.99, median(contention, "128", "jain"), 1),
        ("locks a second of 128 waiters, to those of 8", "≥", 0.9, median(contention, "128", "per_second"), median(contention, "8", "per_second")),
        ("locks a second of 128 waiters, to those of 2, each holding for 50 µs", "≥", 0.5, median(held, "128", "per_second"), median(held, "2", "per_second")),
        ("the same, each holding for no time at all", "≥", 0.5, median(contention, "128", "per_second"), median(contention, "2", "per_second")),
        ("time on a processor of 32 that wait 10 s, to 50 ms", "≤", 1, waiting, 50e6),
        ("the cycle beside 10,000 other files, to the bare calls there", "≤", 1.3, files("10000"), get("beside_files", "ext4", "10000", "floor")),
    ]


def must_show(results):
    rows = []
    for what, sign, bound, ours, other in promises(results):
        if ours is not None and other:
            ratio = ours / other
            kept = ratio <= bound if sign == "≤" else ratio >= bound
            rows.append([what, f"{sign} {bound:g}", f"{ratio:.2f}", "yes" if kept else "**no**"])
    return table(["ratio (ext4)", "bound", "measured", "kept"], rows)


def beside(results):
    """The library and another version of it. A figure is worse only if the quartiles lie apart."""
    rows = []
    for part, kind in ((part, kind) for part in results if part != "machine" for kind in results[part]):
        found = results[part][kind]
        ours, other = found.get("ours"), found.get("ours-other")
        for size in ours if part in ("contention", "held") else [None]:
            if size:
                one, two = ours[size], other[size]
                cells = [f"{at['per_second']:,.0f} locks a second <sub>{at['jain']:.2f}</sub>" for at in (one, two)]
                ratio, verdict = two["per_second"] / one["per_second"], ""
            else:
                cells, ratio = [cell(ours), cell(other)], ours["median"] / other["median"]
                verdict = "worse" if ours["q1"] > other["q3"] else "better" if ours["q3"] < other["q1"] else "alike"
            rows.append([f"{part}{f' of {size}' if size else ''}, {kind}", *cells, f"{ratio:.2f}", verdict])
    return table(["", "this version", "the other one", "ratio of the times", "quartiles"], rows)


# ---- the tables ----


def one_process(results, kind):
    floor = median(results, "cycle", kind, "floor")
    rows = []
    for lock in ALL:
        stats = [results[part][kind].get(lock.key) for part in ("cycle", "wait", "busy", "whole")]
        if stats[0]:
            rows.append([lock.label, cell(stats[0]), f"{stats[0]['median'] / floor:.2f}", *map(cell, stats[1:])])
    return table(["", "lock, unlock", "× bare calls", "waiting lock, unlock", "busy answer", "open, lock, unlock, close"], rows)


def counts(results):
    rows = []
    for lock in ALL:
        if count := results["counts"]["ext4"].get(lock.key):
            calls = ", ".join(f"{name} {n:g}" for name, n in count.get("by_call", {}).items())
            instructions = f"{count['instructions']:,.0f}" if "instructions" in count else "–"
            rows.append([lock.label, f"{count.get('calls', 0):g}", instructions, calls])
    return table(["", "system calls", "instructions", "which"], rows).replace("| ---: |\n", "| --- |\n", 1)


def contention(results, kind, part="contention"):
    measured = results[part][kind]
    sizes = list(next(iter(measured.values())))
    rows = []
    for lock in ALL:
        if row := measured.get(lock.key):
            cells = []
            for size in sizes:
                if at := row.get(size):
                    troubles = [f"{at[what]} {name}" for what, name in (("failures", "failures"), ("overlaps", "**two inside**"), ("none", "got none")) if at[what]]
                    cells.append(f"{at['per_second']:,.0f} <sub>{'; '.join([format(at['jain'], '.2f'), *troubles])}</sub>")
                else:
                    cells.append("–")
            rows.append([lock.label, *cells])
    return table(["locks a second <sub>Jain's index</sub>", *(f"{size} processes" for size in sizes)], rows)


def handover(results):
    rows = []
    for lock in [*ALL, FLOOR_TOLD]:
        stats = [results[part][kind].get(lock.key) for part in ("handover", "in_line", "crash") for kind in ("ext4", "tmpfs")]
        if any(stats):
            rows.append([lock.label, *map(cell, stats)])
    return table(["", "unlock, ext4", "unlock, tmpfs", "in line, ext4", "in line, tmpfs", "SIGKILL, ext4", "SIGKILL, tmpfs"], rows)


def waiting(results):
    rows = []
    for lock in ALL:
        if at := results["waiting"]["ext4"].get(lock.key):
            rows.append([lock.label, duration(at["cpu_ns"]), f"{at['switches']:.2f}", duration(at["through_ns"] / at["processes"])])
    at = next(iter(results["waiting"]["ext4"].values()))
    return table(["", f"processor time of {at['processes']} that wait {at['seconds']:g} s", "sleeps of each until its turn", "time for each turn"], rows)


def threads(results):
    rows = []
    for lock in THREADS:
        at = results["threads"]["ext4"].get(lock.key)
        if at:
            rows.append([lock.label, *(f"{run['per_second']:,.0f} <sub>{run['jain']:.2f}</sub>" for run in at.values())])
    return table(["locks a second of 8 threads <sub>Jain's index</sub>", "no work inside", "50 µs inside"], rows)


def growth(results):
    rows = []
    for kind in ("ext4", "tmpfs"):
        for count, row in results["beside_files"][kind].items():
            rows.append([f"{kind}, beside {int(count):,} other files", *(cell(row.get(key)) for key in ("ours", "floor", "lockfolder-py"))])
    return table(["lock, unlock", "**lockfolder (C)**", "the bare system calls", "lockfolder 1.0.2 (Python)"], rows)


def reap(results):
    rows = []
    for kind, at in results["reap"].items():
        for suffix, of in (("", "in all"), ("-cpu", "on a processor")):
            ours, loop = at["ours" + suffix], at["reap-loop" + suffix]
            rows.append([f"{kind}, {at['count']:,} stale bids, {of}", cell(ours), cell(loop), f"{ours['median'] / loop['median']:.2f}"])
    return table(["time for each", "`lf_lock`", "open, read, unlink in C", "ratio"], rows)


def size(results):
    at, handles = results["library"], results["beside_handles"]["ext4"]
    return table(
        ["", ""],
        [
            ["the shared library, stripped", f"{at['stripped'] / 1000:.0f} KB"],
            ["the same as built, with its symbols", f"{at['bytes'] / 1000:.0f} KB"],
            ["dlopen in a fresh process", cell(at["load"])],
            ["a handle that has locked once: heap", f"{handles['heap']:,.0f} bytes"],
            ["the same: descriptors", f"{handles['descriptors']:g}"],
            ["the cycle alone", cell(handles["alone"])],
            [f"the cycle beside {handles['handles']} idle handles of another process", cell(handles["beside"])],
        ],
    )


def machine(results):
    at = results["machine"]
    return (
        f"{at['processors']}, a virtual machine; Linux {at['kernel']}; {at['compiler']}; revision {at['revision']}, "
        f"{at['date']}; load average at the start {at['load']:.1f}; {at['inotify_instances']} inotify instances for each user."
    )


def sections(results):
    return {
        "machine": machine(results),
        "must-show": must_show(results),
        "ext4": one_process(results, "ext4"),
        "tmpfs": one_process(results, "tmpfs"),
        "counts": counts(results),
        "contention-ext4": contention(results, "ext4"),
        "contention-tmpfs": contention(results, "tmpfs"),
        "held-ext4": contention(results, "ext4", "held"),
        "handover": handover(results),
        "waiting": waiting(results),
        "threads": threads(results),
        "growth": growth(results),
        "reap": reap(results),
        "size": size(results),
        "dependencies": table(["what the code belongs to", "bytes"], library.by_crate(results["library"]["crates"])),
    }


# ---- the charts ----


def charts(results):
    def rows(part, kinds=("ext4", "tmpfs")):
        found = []
        for lock in ALL:
            stats = [results[part][kind].get(lock.key) for kind in kinds]
            if any(stats):
                found.append((plain(lock.label), lock.key.startswith("ours"), stats))
        return sorted(found, key=lambda row: row[2][0]["median"])

    yield "bench-cycle.svg", chart.bars(
        "Lock and unlock, nobody else there", "Medians; shorter is better; logarithmic. The thin line spans the quartiles.", rows("cycle"), ["ext4", "tmpfs"]
    )
    yield "bench-handover.svg", chart.bars(
        "From the holder's unlock until the waiter is in", "Medians; shorter is better; logarithmic. The thin line spans the quartiles.", rows("handover"), ["ext4", "tmpfs"]
    )
    measured = results["contention"]["ext4"]
    labels = {lock.key: plain(lock.label) for lock in ALL}
    pick = lambda what: {labels[key]: {size: at[what] for size, at in row.items()} for key, row in measured.items()}
    yield "bench-contention.svg", chart.lines(
        "Processes that compete for one lock as fast as they can",
        "ext4. Jain's index is 1 if all get the same share, and near 0 if one gets everything.",
        [
            ("locks a second", True, lambda n: f"{n:,.0f}", pick("per_second")),
            ("fairness (Jain's index)", False, lambda n: f"{n:g}", pick("jain")),
        ],
        list(next(iter(measured.values()))),
    )



def write(results):
    text = PAGE.read_text()
    for name, content in sections(results).items():
        pattern = re.compile(rf"(<!-- bench:{name} -->\n).*?(<!-- /bench -->)", re.S)
        if not pattern.search(text):
            raise SystemExit(f"{PAGE} has no place for {name}")
        text = pattern.sub(lambda at: f"{at[1]}{content}\n{at[2]}", text)
    PAGE.write_text(text)
    for name, svg in charts(results):
        (PAGE.parent / name).write_text(svg)
    print("wrote docs/benchmarks.md and docs/bench-*.svg")
