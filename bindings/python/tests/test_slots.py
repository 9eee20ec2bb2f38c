import asyncio
import unittest

from lockfolder_native import Busy, Folder, Invalid

from support import GUARD, TestCase

SHARE = """
import sys
from lockfolder_native import Folder
slots, shared = int(sys.argv[2]), sys.argv[3] == "True"
with Folder(sys.argv[1], slots=slots, shared=shared) as folder, folder.lock(timeout=60):
    print("held", flush=True)
    sys.stdin.read()
"""


class SlotsTest(TestCase):
    def inside(self, slots=1, shared=False):
        process = self.python(SHARE, self.path, str(slots), str(shared))
        self.assertEqual(process.stdout.readline(), "held\n")
        return process

    def test_readers_are_in_together_and_a_writer_is_alone(self):
        others = [self.inside(shared=True), self.inside(shared=True)]
        with Folder(self.path, shared=True) as reader, Folder(self.path) as writer:
            with reader.lock(blocking=False) as ours:
                for other in others:
                    with self.assertRaises(Busy):
                        writer.lock(blocking=False)
                    other.stdin.close()
                    self.assertEqual(other.wait(GUARD), 0)
                with self.assertRaises(Busy):
                    writer.lock(blocking=False)
                self.assertTrue(ours.holds())
            with writer.lock(GUARD), self.assertRaises(Busy):
                reader.lock(blocking=False)

    def test_as_many_are_in_as_there_are_places(self):
        others = [self.inside(slots=3), self.inside(slots=3)]
        with Folder(self.path, slots=3) as third, Folder(self.path, slots=3) as fourth, Folder(self.path) as alone:
            with third.lock(blocking=False) as ours:
                for one in fourth, alone:
                    with self.assertRaises(Busy):
                        one.lock(blocking=False)
                others[0].stdin.close()
                with fourth.lock(GUARD) as theirs:
                    self.assertNotEqual(ours.fence(), theirs.fence())

    def test_tasks_share_too(self):
        async def work(places, most):
            with Folder(self.path, slots=3) as folder:
                async with folder.holding(timeout=GUARD):
                    places.append(1)
                    most.append(len(places))
                    while max(most) < 3:  # until 3 have been inside together
                        await asyncio.sleep(0.001)
                    await asyncio.sleep(0.001)
                    places.pop()

        async def all_of_them():
            places, most = [], []
            await asyncio.gather(*(work(places, most) for _ in range(12)))
            return most

        most = asyncio.run(all_of_them())
        self.assertEqual((len(most), max(most)), (12, 3))

    def test_another_number_is_invalid_and_both_are_named(self):
        self.inside(slots=3)
        for options, said in ({"slots": 2}, "2 slots"), ({"shared": True}, "any number"):
            with Folder(self.path, **options) as folder:
                for call in {"blocking": False}, {"timeout": GUARD}:
                    with self.assertRaises(Invalid) as invalid:
                        folder.lock(**call)
                    self.assertIn("3 slots", str(invalid.exception))
                    self.assertIn(said, str(invalid.exception))

    def test_numbers_that_are_none(self):
        for bad in {"slots": 0}, {"slots": -1}, {"slots": 2**32}, {"slots": 2, "shared": True}:
            with self.assertRaises(ValueError):
                Folder(self.path, **bad)
        for bad in 1.5, None, "2":
            with self.assertRaises(TypeError):
                Folder(self.path, slots=bad)


if __name__ == "__main__":
    unittest.main()
