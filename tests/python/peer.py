"""A claimant that uses the Python package lockfolder 1.0.2 without changes.

    peer.py obey FOLDER                       reads commands, one on each line: lock, unlock, in_use, have_lock,
                                              created PID. Answers each command with a line
    peer.py race FOLDER INSIDE COUNT SECONDS  competes, and prints its errors and its number of locks

The package raises an error if it can't read a bid (JSONDecodeError), or if a bid vanishes (FileNotFoundError). It then leaves its own bid
in the folder. The peer catches such an error, deletes that bid and goes on.
"""

import json
import os
import pathlib
import random
import sys
import time

import psutil
from lockfolder import lockfolder


def own_bid(folder):
    return folder / (lockfolder.g[lockfolder.UUID] + ".json")


def culprit(error):
    """The bid that the package was reading when it failed. This is the variable `p` of its function `challenge`."""
    found = None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_name == "challenge":
            found = trace.tb_frame.f_locals["p"].name
        trace = trace.tb_next
    return found


def obey(folder):
    for line in sys.stdin:
        word, *arguments = line.split()
        if word == "created":
            answer = int(psutil.Process(int(arguments[0])).create_time())
        else:
            answer = getattr(lockfolder, word)(folder)
        print(answer, flush=True)


def update(inside, count):
    """Only the holder may be in here. The exclusive file shows a second one at once, and a lost update shows it at the end."""
    os.close(os.open(inside, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    number = int(count.read_text())
    time.sleep(0.0005)
    count.write_text(str(number + 1))
    os.unlink(inside)


def race(folder, inside, count, seconds):
    locks = errors = 0
    end = time.monotonic() + seconds
    pause = 0.001
    while time.monotonic() < end:
        try:
            got = lockfolder.lock(folder)
        except (json.JSONDecodeError, FileNotFoundError) as error:
            errors += 1
            doc = getattr(error, "doc", None)
            print("error", type(error).__name__, culprit(error), repr(doc), flush=True)
            own_bid(folder).unlink(missing_ok=True)
            got = False
        if not got:
            time.sleep(random.uniform(0, pause))
            pause = min(2 * pause, 0.02)
            continue
        pause = 0.001
        update(inside, count)
        if not lockfolder.have_lock(folder):
            raise SystemExit("somebody deleted the bid of a live Python peer")
        lockfolder.unlock(folder)
        locks += 1
    print("locks", locks, flush=True)


lockfolder.setup()
folder = pathlib.Path(sys.argv[2])
if sys.argv[1] == "obey":
    obey(folder)
else:
    race(folder, pathlib.Path(sys.argv[3]), pathlib.Path(sys.argv[4]), float(sys.argv[5]))
