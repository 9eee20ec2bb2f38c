"""A claimant in Python: see README.md. With ROGUE in its environment it does not take the lock."""

import itertools
import os
import sys
import time

from lockfolder_native import Folder


def tried(call, *arguments):
    try:
        return call(*arguments) or True
    except OSError:
        return False


def violation(what):
    print("python: VIOLATION:", what, file=sys.stderr)
    os._exit(3)


def work(token):
    me = str(os.getpid())
    if not tried(os.symlink, me, "inside"):
        if not tried(os.rename, "inside", f"found/{token}") or not tried(os.symlink, me, "inside"):
            violation("another is inside")
    with open("log", "a") as log:
        log.write(f"python {me} {token}\n")
    time.sleep(0.002)
    if tried(os.readlink, "inside") != me or not tried(os.unlink, "inside"):
        violation("another was inside")


path, arena = sys.argv[1:]
rogue = "ROGUE" in os.environ
os.chdir(arena)
with Folder(path) as folder:
    for turn in itertools.count():
        if os.path.exists("stop"):
            break
        if rogue:
            work(f"rogue{turn}")
            continue
        with folder.holding() as lock:
            work(lock.fence())
