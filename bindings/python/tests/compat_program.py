"""A program that uses the old package or the stand-in, as its first argument says. It prints the result of each call.

The third argument is `story`, `hold` or `try`. `hold` holds the lock until standard input ends. `try` prints whether it gets the lock.
"""

import os
import sys
from pathlib import Path

if sys.argv[1] == "old":
    from lockfolder import lockfolder
else:
    from lockfolder_compat import lockfolder

path = Path(sys.argv[2])


def say(name, call, *arguments):
    try:
        result = call(*arguments)
    except Exception as error:
        result = type(error).__name__
    print(name, result, flush=True)


def story():
    say("lock before setup", lockfolder.lock, path)
    say("have_lock before setup", lockfolder.have_lock, path)
    lockfolder.setup()
    say("have_lock", lockfolder.have_lock, path)
    say("unlock", lockfolder.unlock, path)
    say("in_use", lockfolder.in_use, path)
    say("lock", lockfolder.lock, path)
    say("lock again", lockfolder.lock, path)
    say("in_use", lockfolder.in_use, path)
    say("have_lock", lockfolder.have_lock, path)
    os.chdir(path.parent)
    say("have_lock, relative", lockfolder.have_lock, Path(path.name))
    say("unlock, relative", lockfolder.unlock, Path(path.name))
    say("unlock again", lockfolder.unlock, path)
    say("have_lock", lockfolder.have_lock, path)

    say("lock", lockfolder.lock, path)
    for bid in path.glob("*.json"):
        bid.unlink()
    say("have_lock, deleted", lockfolder.have_lock, path)
    say("lock, deleted", lockfolder.lock, path)
    say("have_lock", lockfolder.have_lock, path)
    for bid in path.glob("*.json"):
        bid.unlink()
    say("unlock, deleted", lockfolder.unlock, path)

    (path / "eeeeeeee-0000-4000-8000-00000000000a.json").write_text('{"PID": 4194999, "CREATED": 1}')
    say("in_use, stale", lockfolder.in_use, path)
    say("lock, stale", lockfolder.lock, path)
    say("unlock", lockfolder.unlock, path)
    (path / "eeeeeeee-0000-4000-8000-00000000000b.json").write_text('{"PID": %d, "CREATED": %d}' % live())
    say("in_use, live", lockfolder.in_use, path)
    say("lock, live", lockfolder.lock, path)
    say("have_lock, live", lockfolder.have_lock, path)
    say("unlock, live", lockfolder.unlock, path)

    for call in lockfolder.lock, lockfolder.in_use, lockfolder.have_lock, lockfolder.unlock:
        say("missing", call, path / "missing")
    say("a string", lockfolder.lock, str(path))


def live():
    """The PID of the parent, and its start time as psutil computes it."""
    with open("/proc/stat") as stat:
        boot = next(int(line.split()[1]) for line in stat if line.startswith("btime"))
    with open(f"/proc/{os.getppid()}/stat") as stat:
        ticks = int(stat.read().rpartition(")")[2].split()[19])
    return os.getppid(), int(boot + ticks / os.sysconf("SC_CLK_TCK"))


if sys.argv[3] == "story":
    story()
else:
    lockfolder.setup()
    say("lock", lockfolder.lock, path)
    if sys.argv[3] == "hold":
        sys.stdin.read()
