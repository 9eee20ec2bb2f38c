import asyncio
import os
import signal
import unittest

from lockfolder_native import Folder, Invalid, Lost

from support import GUARD, TestCase

LEASE = 5  # seconds: the shortest

HOLD = """
import asyncio, sys
from lockfolder_native import Folder, Lost

async def until_lost(folder):
    lost = asyncio.Event()
    asyncio.get_running_loop().add_reader(folder.lost, lost.set)
    print("held", flush=True)
    await lost.wait()
    asyncio.get_running_loop().remove_reader(folder.lost)

with Folder(sys.argv[1], lease=5) as folder:
    lock = folder.lock(blocking=False)
    asyncio.run(until_lost(folder))
    print(folder.lost.is_set(), lock.holds(), flush=True)
    try:
        lock.unlock()
    except Lost as error:
        print(folder.lost.is_set(), error, flush=True)
    with folder.lock() as lock:
        print(folder.lost.is_set(), lock.holds(), flush=True)
"""


class LeaseTest(TestCase):
    def share(self) -> None:
        """Now the folder looks as if other hosts use it too."""
        os.mkdir(os.path.join(self.path, ".lockfolder"))
        open(os.path.join(self.path, ".lockfolder", "shared"), "w").close()

    def test_a_holder_that_was_stopped_learns_that_it_lost_the_lock(self):
        self.share()
        holder = self.python(HOLD, self.path)
        self.assertEqual(holder.stdout.readline(), "held\n")
        holder.send_signal(signal.SIGSTOP)
        with Folder(self.path, lease=LEASE) as folder:
            with self.assertRaises(TimeoutError):
                folder.lock(timeout=LEASE)
        holder.send_signal(signal.SIGCONT)
        self.assertEqual(holder.stdout.readline(), "True False\n")
        said = holder.stdout.readline()
        self.assertTrue(said.startswith("False ") and "lease" in said and self.path in said, said)
        self.assertEqual(holder.stdout.readline(), "False True\n")
        self.assertEqual(holder.wait(GUARD), 0)

    def test_a_lease_that_the_program_renews(self):
        self.share()
        threads = len(os.listdir("/proc/self/task"))
        with Folder(self.path, lease=GUARD, no_thread=True) as folder, folder.lock(blocking=False) as lock:
            self.assertLessEqual(len(os.listdir("/proc/self/task")), threads)  # one of the test before may have ended
            self.assertLessEqual(lock.valid_for(), GUARD * 2 / 3)
            lock.renew()
            self.assertEqual(len(os.listdir(os.path.join(self.path, ".lockfolder", "leases"))), 1)
            self.assertFalse(folder.lost.is_set() or folder.lost.wait(0.01))
            self.assertFalse(asyncio.run(self.is_readable(folder)))

    async def is_readable(self, folder: Folder) -> bool:
        readable = asyncio.Event()
        asyncio.get_running_loop().add_reader(folder.lost, readable.set)
        await asyncio.sleep(0.01)
        asyncio.get_running_loop().remove_reader(folder.lost)
        return readable.is_set()

    def test_without_other_hosts_there_is_no_lease(self):
        with Folder(self.path, lease=LEASE) as folder, folder.lock() as lock:
            self.assertIsNone(lock.valid_for())
            lock.renew()
            self.delete_bids()
            self.assertFalse(lock.holds() or folder.lost.is_set())
            with self.assertRaises(Lost):
                lock.unlock()

    def test_bad_lengths_and_a_closed_folder(self):
        descriptors = os.listdir("/dev/fd")
        for length in 4.9, 3601, 1e30:
            with self.assertRaises(Invalid):
                Folder(self.path, lease=length)
        self.assertEqual(len(os.listdir("/dev/fd")), len(descriptors), "a handle stays open")
        with self.assertRaises(ValueError):
            Folder(self.path, lease=-1)
        folder = Folder(self.path)
        folder.close()
        with self.assertRaises(Invalid):
            folder.lost.is_set()


if __name__ == "__main__":
    unittest.main()
