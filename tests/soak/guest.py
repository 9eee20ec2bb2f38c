"""A guest of examples-c/race that enters with the unchanged Python package lockfolder 1.0.2.

The work inside the lock is done by the race itself (librace.so, from examples-c/race_worker.c), so one referee watches
all guests.

The package gives up and leaves its bid in the folder when it can't read a bid, or when a bid vanishes. This guest then
deletes that bid and tries again.
"""

import ctypes
import json
import os
import pathlib
import random
import sys
import time

from lockfolder import lockfolder

race = ctypes.CDLL(sys.argv[1])
race.race_join.restype = ctypes.c_void_p
race.race_join.argtypes = [ctypes.c_char_p]
race.race_goes_on.restype = ctypes.c_bool
race.race_goes_on.argtypes = race.race_update.argtypes = [ctypes.c_void_p]

folder = pathlib.Path(sys.argv[2])
guest = race.race_join(os.environ["RACE_PLACE"].encode())
assert guest, "no race to join"
lockfolder.setup()
own_bid = folder / (lockfolder.g[lockfolder.UUID] + ".json")
pause = 0.001
while race.race_goes_on(guest):
    try:
        got = lockfolder.lock(folder)
    except (json.JSONDecodeError, FileNotFoundError):
        own_bid.unlink(missing_ok=True)
        got = False
    if not got:
        time.sleep(random.uniform(0, pause))
        pause = min(2 * pause, 0.02)
        continue
    pause = 0.001
    race.race_update(guest)
    assert lockfolder.have_lock(folder), "somebody deleted the bid of a live Python peer"
    lockfolder.unlock(folder)
