"""setup, lock, unlock, in_use and have_lock of the package `lockfolder` 1.0.2, with the same arguments and results.

Better than the package:

- Of several processes that lock at once, one wins.
- A process that locks at the same moment causes no JSONDecodeError and no FileNotFoundError.
- Threads may call these functions.
- The bid of a killed process is stale even if its PID is used again.

Different from the package:

- If a bid can't be read, lock() returns False. The package raises JSONDecodeError.
- A file is a bid only if its name is a GUID and `.json`. The package takes every `*.json` for a bid, and deletes it if it names a PID
  that is gone.
"""

import errno
import os
import pathlib
import threading
from typing import Dict, NoReturn

from lockfolder_native import Busy, Folder, Forked, IOFailure, LockFolderError, Lost, NotHeld
from lockfolder_native._handle import process as running_process
from lockfolder_native._library import lib

__all__ = ["setup", "lock", "unlock", "in_use", "have_lock"]


class _Process:
    """The folders that this process has opened, by path.

    Only the handle of a folder records whether the lock is held. An exception of a signal's handler can come at any step of lock().
    If the lock is held then, have_lock() says so, and unlock() gives it back.
    """

    def __init__(self) -> None:
        self._running = running_process()
        self.guard = threading.RLock()
        self.folders: Dict[str, Folder] = {}

    def is_ours(self) -> bool:
        """False in a forked child. There, the guard may be held for ever."""
        return self._running is running_process()

    def folder(self, path: str) -> Folder:
        with self.guard:
            if path not in self.folders:
                self.folders[path] = Folder(path, create=False)
            return self.folders[path]


_processes: Dict[str, _Process] = {}  # empty until setup() is called, then one entry


def setup() -> None:
    """Call it once before all other functions, and again in a forked child."""
    if "this" not in _processes or not _processes["this"].is_ours():
        _processes["this"] = _Process()


def lock(lockfolder_path: pathlib.Path) -> bool:
    """True: the lock is held, perhaps since an earlier call. False: the lock is busy, try again later."""
    assert isinstance(lockfolder_path, pathlib.Path)
    process, path = _ours(), os.path.abspath(lockfolder_path)
    with process.guard:
        if have_lock(lockfolder_path):
            return True
        try:
            folder = process.folder(path)
            _forget(folder)
            folder.lock(blocking=False)
        except Busy:
            return False
        except LockFolderError as error:
            _raise_as_the_package(error, path)
        return True


def in_use(lockfolder_path: pathlib.Path) -> bool:
    """True if a bid of another claimant is there that is not stale."""
    process, path = _ours(), os.path.abspath(lockfolder_path)
    try:
        return process.folder(path).in_use()
    except LockFolderError as error:
        _raise_as_the_package(error, path)


def have_lock(lockfolder_path: pathlib.Path) -> bool:
    """True if this process has the lock."""
    process = _this()
    folder = process.folders.get(os.path.abspath(lockfolder_path))
    if folder is None or not process.is_ours():
        return False
    try:
        folder._handle.call(lib.lf_holds)
    except (Lost, NotHeld):
        return False
    return True


def unlock(lockfolder_path: pathlib.Path) -> None:
    """Gives the lock back. FileNotFoundError if it was not held, or somebody deleted the bid.

    In a forked child it does nothing: the lock is the parent's, and an error here would hide the child's own exception.
    """
    process, path = _this(), os.path.abspath(lockfolder_path)
    if not process.is_ours():
        return
    with process.guard:
        folder = process.folders.get(path)
        try:
            if folder is None:
                raise NotHeld("the lock is not held")
            folder._handle.call(lib.lf_unlock)
        except (Lost, NotHeld) as error:
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


def _forget(folder: Folder) -> None:
    """Unlocks the handle after its lock was lost. Until then a new lock would be refused."""
    try:
        folder._handle.call(lib.lf_unlock)
    except (Lost, NotHeld):
        pass


def _raise_as_the_package(error: LockFolderError, path: str) -> NoReturn:
    """Raises an error of the system as Python does: FileNotFoundError, PermissionError."""
    if isinstance(error, IOFailure) and error.errno is not None:
        raise OSError(error.errno, str(error), path) from error
    raise error
