"""setup, lock, unlock, in_use and have_lock of the package `lockfolder` 1.0.2, with the same arguments and results.

What is better here: of several that lock at once, one wins; no JSONDecodeError or FileNotFoundError because another was at work
at the same moment; threads may call it; a killed process's bid is stale even if its PID is used again. What differs: a bid
that can't be read makes lock() return False, where the package raises JSONDecodeError; and a file whose name is not a GUID and
`.json` is no bid, where the package takes every `*.json` for one, and deletes it if it names a PID that is gone.
"""

import errno
import os
import pathlib
import threading
from typing import Dict, NoReturn

from lockfolder_native import Busy, Folder, Forked, IOFailure, LockFolderError, Lock, Lost, NotHeld
from lockfolder_native._handle import process as running_process

__all__ = ["setup", "lock", "unlock", "in_use", "have_lock"]


class _Process:
    """What this process has opened and holds, by path."""

    def __init__(self) -> None:
        self._running = running_process()
        self.guard = threading.RLock()
        self.folders: Dict[str, Folder] = {}
        self.locks: Dict[str, Lock] = {}

    def is_ours(self) -> bool:
        """Not so in a forked child; there its guard may be held for ever."""
        return self._running is running_process()

    def folder(self, path: str) -> Folder:
        with self.guard:
            if path not in self.folders:
                self.folders[path] = Folder(path, create=False)
            return self.folders[path]


_processes: Dict[str, _Process] = {}  # empty, or one: setup() was called


def setup() -> None:
    """To be called once before all else, and again in a forked child."""
    if "this" not in _processes or not _processes["this"].is_ours():
        _processes["this"] = _Process()


def lock(lockfolder_path: pathlib.Path) -> bool:
    """True: the lock is held, also if it was before. False: not now, try again later."""
    assert isinstance(lockfolder_path, pathlib.Path)
    process, path = _ours(), os.path.abspath(lockfolder_path)
    with process.guard:
        if have_lock(lockfolder_path):
            return True
        _forget(process, path)
        try:
            process.locks[path] = process.folder(path).lock(blocking=False)
        except Busy:
            return False
        except LockFolderError as error:
            _raise_as_the_package(error, path)
        return True


def in_use(lockfolder_path: pathlib.Path) -> bool:
    """True if another's bid is there that is not stale."""
    process, path = _ours(), os.path.abspath(lockfolder_path)
    try:
        return process.folder(path).in_use()
    except LockFolderError as error:
        _raise_as_the_package(error, path)


def have_lock(lockfolder_path: pathlib.Path) -> bool:
    """True if this process has the lock."""
    process = _this()
    held = process.locks.get(os.path.abspath(lockfolder_path))
    return held is not None and process.is_ours() and held.holds()


def unlock(lockfolder_path: pathlib.Path) -> None:
    """Gives the lock back. FileNotFoundError if it was not held, or somebody deleted the bid.

    In a forked child it does nothing: the lock is the parent's, and an error at the end of a `try` would hide why the child leaves it.
    """
    process, path = _this(), os.path.abspath(lockfolder_path)
    if not process.is_ours():
        return
    with process.guard:
        held = process.locks.get(path)
        try:
            if held is None:
                raise NotHeld("the lock is not held")
            held.unlock()
            del process.locks[path]
        except (Lost, NotHeld) as error:
            process.locks.pop(path, None)
            raise FileNotFoundError(errno.ENOENT, str(error), path) from error
        except LockFolderError as error:
            _raise_as_the_package(error, path)


def _this() -> _Process:
    if "this" not in _processes:
        raise KeyError("UUID: setup() was not called")
    return _processes["this"]


def _ours() -> _Process:
    process = _this()
    if not process.is_ours():
        raise Forked("setup() was called in the parent process: call it again after the fork")
    return process


def _forget(process: _Process, path: str) -> None:
    """Of a lock that was lost the handle still thinks that it holds."""
    held = process.locks.pop(path, None)
    if held is not None:
        try:
            held.unlock()
        except (Lost, NotHeld):
            pass


def _raise_as_the_package(error: LockFolderError, path: str) -> NoReturn:
    """The system's error as Python raises it: FileNotFoundError, PermissionError."""
    if isinstance(error, IOFailure) and error.errno is not None:
        raise OSError(error.errno, str(error), path) from error
    raise error
