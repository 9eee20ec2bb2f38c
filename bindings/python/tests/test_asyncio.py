import asyncio
import os
import resource
import signal
import threading
import time
import unittest
from unittest import mock

from lockfolder_native import Busy, Cancelled, Folder, Forked, Timeout
from lockfolder_native._handle import Wait

from support import GUARD, TestCase

DESCRIPTORS_OF_A_WAIT = 16
MOST_WAITS = 1000

INTERRUPTED = """
import asyncio, sys
from lockfolder_native import Folder

async def main(folder):
    print("waiting", flush=True)
    async with folder.holding():
        print("held", flush=True)

with Folder(sys.argv[1]) as folder:
    try:
        asyncio.run(main(folder))
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        sys.stdin.read()
"""


class LoopWithoutReaders(asyncio.SelectorEventLoop):
    """As the loop that Python uses on Windows."""

    def add_reader(self, *_):
        raise NotImplementedError


def run(main):
    """asyncio.run with a limit against hanging."""

    async def limited():
        return await asyncio.wait_for(main, GUARD)

    return asyncio.run(limited())


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


class AsyncioTest(TestCase):
    def tickets(self) -> int:
        try:
            return len(os.listdir(os.path.join(self.path, ".lockfolder", "queue")))
        except FileNotFoundError:
            return 0

    async def standing_in_line(self, number):
        while self.tickets() != number:
            await asyncio.sleep(0.001)

    async def hold(self, folder, **options):
        async with folder.holding(**options) as lock:
            return lock.fence()

    async def waiting(self, folder, **options):
        """A task that waits for a lock that is not free."""
        before = self.tickets()
        task = asyncio.ensure_future(self.hold(folder, **options))
        await self.standing_in_line(before + 1)
        return task

    def opened(self):
        folder = Folder(self.path)
        self.addCleanup(folder.close)
        return folder

    def test_the_end_of_the_with_gives_the_lock_back(self):
        async def main():
            folder, other = self.opened(), self.opened()
            async with folder.holding() as lock:
                self.assertTrue(lock.holds())
                with self.assertRaises(Busy):
                    await self.hold(other, blocking=False)
                first = lock.fence()
            self.assertGreater(await self.hold(other, blocking=False), first)
            with self.assertRaises(ZeroDivisionError):
                async with folder.holding():
                    1 / 0
            self.assertEqual(folder.bids(), [])
            async with folder.holding() as lock:
                lock.unlock()

        run(main())

    def test_other_tasks_run_while_one_waits(self):
        async def main():
            holder = self.holder()
            task = await self.waiting(self.opened())
            for _ in range(100):
                await asyncio.sleep(0)
            self.assertFalse(task.done())
            holder.kill()
            self.assertGreater(await task, 0)

        run(main())

    def test_tasks_exclude_each_other(self):
        inside = 0

        async def work():
            nonlocal inside
            with Folder(self.path) as folder:
                for _ in range(5):
                    async with folder.holding():
                        inside += 1
                        self.assertEqual(inside, 1)
                        await asyncio.sleep(0.001)
                        inside -= 1

        async def main():
            await asyncio.gather(*(work() for _ in range(8)))

        run(main())

    def test_loops_in_several_threads(self):
        inside = 0
        failed = []

        async def work():
            nonlocal inside
            with Folder(self.path) as folder:
                for _ in range(5):
                    async with folder.holding():
                        before = inside
                        await asyncio.sleep(0.001)
                        inside = before + 1

        async def main():
            await asyncio.gather(work(), work())

        def loop():
            try:
                run(main())
            except BaseException as error:
                failed.append(error)

        all_threads = [threading.Thread(target=loop) for _ in range(4)]
        for thread in all_threads:
            thread.start()
        for thread in all_threads:
            thread.join()
        self.assertEqual((inside, failed), (40, []))

    def test_timeout(self):
        async def main():
            holder = self.holder()
            with self.assertRaises(Timeout) as raised:
                await self.hold(self.opened(), timeout=0.02)
            self.assertIn(str(holder.pid), str(raised.exception))
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(self.hold(self.opened()), 0.02)
            self.assertEqual(self.tickets(), 0)

        run(main())

    def test_a_cancelled_task_leaves_no_ticket(self):
        async def main():
            holder = self.holder()
            folder = self.opened()
            for turns in range(20):  # of the loop, before the cancellation
                task = asyncio.ensure_future(self.hold(folder))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await task
                self.assertEqual((self.tickets(), len(folder.bids())), (0, 1))
            holder.kill()
            await self.hold(folder)

        run(main())

    def when_it_takes_the_lock(self, act):
        """Calls `act` in the step that takes the lock, before the task knows it."""
        step = Wait.step

        def step_and_act(wait):
            failed = step(wait)
            if not wait.is_pending():
                act()
            return failed

        return mock.patch.object(Wait, "step", step_and_act)

    def test_a_cancellation_at_the_moment_of_the_lock_leaves_no_lock(self):
        async def main():
            loop = asyncio.get_running_loop()
            for later in False, True:
                with Folder(self.path) as holder, Folder(self.path) as folder:
                    lock = holder.lock()
                    task = await self.waiting(folder)
                    act = (lambda: loop.call_soon(task.cancel)) if later else task.cancel
                    with self.when_it_takes_the_lock(act):
                        lock.unlock()
                        with self.assertRaises(asyncio.CancelledError):
                            await task
                    self.assertEqual((self.tickets(), folder.bids()), (0, []))
                    await self.hold(folder)

        run(main())

    def test_close_at_the_moment_of_the_lock_lets_nothing_in(self):
        async def main():
            loop = asyncio.get_running_loop()
            with Folder(self.path) as holder:
                for later in False, True:
                    folder = Folder(self.path)
                    lock = holder.lock()
                    task = await self.waiting(folder)
                    act = (lambda: loop.call_soon(folder.close)) if later else folder.close
                    with self.when_it_takes_the_lock(act):
                        lock.unlock()
                        with self.assertRaises(Cancelled):
                            await task
                    self.assertEqual((self.tickets(), holder.bids()), (0, []))

        run(main())

    def test_cancel_and_close_end_a_wait(self):
        async def main():
            self.holder()
            folder = self.opened()
            task = await self.waiting(folder)
            folder.cancel()
            with self.assertRaises(Cancelled):
                await task
            for in_thread in False, True:
                folder = self.opened()
                task = await self.waiting(folder)
                if in_thread:
                    await asyncio.get_running_loop().run_in_executor(None, folder.close)
                else:
                    folder.close()
                self.assertEqual(self.tickets(), 0)
                with self.assertRaises(Cancelled):
                    await task

        run(main())

    def test_one_wait_at_a_time(self):
        async def main():
            with Folder(self.path) as holder:
                lock = holder.lock()
                folder = self.opened()
                task = await self.waiting(folder)
                with self.assertRaises(Busy):
                    await self.hold(folder)
                self.assertEqual(self.tickets(), 1)
                lock.unlock()
                await task

        run(main())

    def test_a_loop_that_ends_leaves_no_ticket(self):
        self.holder()
        folder = self.opened()
        loop = asyncio.new_event_loop()
        try:
            task = loop.run_until_complete(self.waiting(folder))
            folder.close()  # the loop stands still
            self.assertEqual(self.tickets(), 0)
            with self.assertRaises(Cancelled):
                loop.run_until_complete(task)
        finally:
            loop.close()

    def test_without_a_descriptor_a_timer_steps(self):
        async def main():
            with Folder(self.path) as holder:
                lock = holder.lock()
                task = await self.waiting(self.opened())
                cancelled = await self.waiting(self.opened())
                cancelled.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await cancelled
                lock.unlock()
                await task
            self.assertEqual(self.tickets(), 0)

        loop = LoopWithoutReaders()
        try:
            loop.run_until_complete(asyncio.wait_for(main(), GUARD))
        finally:
            loop.close()
        with mock.patch.object(Wait, "descriptor", lambda _: -1):
            run(main())
            with Folder(self.path) as holder, Folder(self.path) as folder:
                holder.lock()
                with self.assertRaises(Timeout):
                    folder.lock(timeout=0.05)  # a thread steps by time too

    def test_ctrl_c_leaves_no_ticket(self):
        self.holder()
        child = self.python(INTERRUPTED, self.path)
        self.assertEqual(child.stdout.readline(), "waiting\n")
        while self.tickets() != 1:
            time.sleep(0.001)
        child.send_signal(signal.SIGINT)
        self.assertEqual(child.stdout.readline(), "interrupted\n")
        self.assertEqual(self.tickets(), 0)

    def test_a_forked_child_leaves_the_wait_of_its_parent(self):
        async def main():
            with Folder(self.path) as holder:
                lock = holder.lock()
                folder = self.opened()
                task = await self.waiting(folder)
                child = os.fork()
                if child == 0:
                    try:
                        try:
                            folder.cancel()
                        except Forked:
                            folder.close()
                            os._exit(7)
                    finally:
                        os._exit(1)
                self.assertEqual(os.waitpid(child, 0)[1] >> 8, 7)
                self.assertEqual(self.tickets(), 1)
                lock.unlock()
                await task

        run(main())

    def test_a_thousand_waits_start_no_thread(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        number = MOST_WAITS
        if hard != resource.RLIM_INFINITY:
            number = min(number, (hard - 100) // DESCRIPTORS_OF_A_WAIT)
        inside = 0

        async def hold(folder):
            nonlocal inside
            async with folder.holding():
                inside += 1
                self.assertEqual(inside, 1)
                await asyncio.sleep(0)
                inside -= 1

        async def main():
            with Folder(self.path) as holder:
                lock = holder.lock()
                before = threads()
                folders = [Folder(self.path) for _ in range(number)]
                tasks = [asyncio.ensure_future(hold(folder)) for folder in folders]
                await self.standing_in_line(number)
                self.assertEqual(threads(), before)
                for task in tasks[::2]:
                    task.cancel()
                ended = await asyncio.gather(*tasks[::2], return_exceptions=True)
                self.assertEqual({type(error) for error in ended}, {asyncio.CancelledError})
                self.assertEqual(self.tickets(), len(tasks[1::2]))
                lock.unlock()
                await asyncio.gather(*tasks[1::2])
                self.assertEqual((threads(), self.tickets(), holder.bids()), (before, 0, []))
                for folder in folders:
                    folder.close()

        run(main())
        if number < MOST_WAITS:
            self.skipTest(f"{number} waits passed: a process may have {hard} descriptors, and {MOST_WAITS} waits need more")


if __name__ == "__main__":
    unittest.main()
