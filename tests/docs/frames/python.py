"""Runs a snippet. It may await, and may use what it does not declare: `folder`, `write`."""

import ast
import asyncio
import inspect
import sys
import warnings

from lockfolder_native import Folder

warnings.simplefilter("error")
with open(sys.argv[1]) as file:
    code = compile(file.read(), sys.argv[1], "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
scope = {"__name__": "__main__", "folder": Folder("given"), "write": lambda token: None}
result = eval(code, scope)  # of a snippet that awaits: a coroutine
if inspect.iscoroutine(result):
    asyncio.run(result)
