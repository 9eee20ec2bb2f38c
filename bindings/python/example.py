"""Waits for the lock of a folder until Ctrl-C, and prints its fencing token."""

import sys

from lockfolder_native import Folder, LockFolderError


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: python3 example.py FOLDER", file=sys.stderr)
        return 2
    try:
        with Folder(sys.argv[1]) as folder, folder.holding() as lock:
            print("held; fencing token", lock.fence())
    except LockFolderError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
