"""The loss of a lock that has a lease."""

import math
import os
import select
from typing import Optional

from ._errors import Unsupported
from ._handle import Handle, duplicate
from ._library import lib


class Loss:
    """Is set from the moment when the lease of the lock is lost until the lock is unlocked. Where no lease is needed, it is never set.

    Anything that watches a descriptor can watch it: `loop.add_reader(folder.lost, on_loss)` of asyncio, or `selectors`. Never read
    from the descriptor. Stop watching before `Folder.close()`.
    """

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def fileno(self) -> int:
        """The descriptor, which is readable while this is set. It is the library's, and valid until `Folder.close()`."""
        with self._handle.guarded():
            descriptor = int(self._handle.value(lib.lf_lost_fd))
        if descriptor < 0:
            raise Unsupported("a loss can't be watched: only Linux has this, and it needs a free descriptor")
        return descriptor

    def is_set(self) -> bool:
        return self.wait(0)

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Waits until it is set, or for `timeout` seconds. Returns whether it is set."""
        with self._handle.guarded():
            descriptor = duplicate(self.fileno())  # another thread may close the Folder meanwhile
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            return bool(poll.poll(None if timeout is None else math.ceil(max(timeout, 0) * 1000)))
        finally:
            os.close(descriptor)
