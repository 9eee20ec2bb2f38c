"""The C library, through ctypes. Every call releases the interpreter's lock."""

import ctypes
import os
from ctypes import POINTER, c_bool, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any, List, Tuple

_CARRIED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "liblockfolder.so")


def _load() -> ctypes.CDLL:
    """The library that LOCKFOLDER_LIBRARY names, or the one that the wheel carries, or the one that the system finds."""
    named = os.environ.get("LOCKFOLDER_LIBRARY")
    name = named or (_CARRIED if os.path.exists(_CARRIED) else "liblockfolder.so.0")
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        out = (
            "LOCKFOLDER_LIBRARY names it: correct that variable, or unset it"
            if named
            else "Install a wheel that carries it, or install the C library (`make install`), or set LOCKFOLDER_LIBRARY to its "
            "file, or LD_LIBRARY_PATH to its folder"
        )
        raise ImportError(f"lockfolder_native can't load the native library {name}: {error}. {out}.", path=name) from error


lib = _load()


class CBid(ctypes.Structure):
    """lf_bid. A later version may add fields at its end, so it is read through a pointer only."""

    _fields_ = [
        ("name", c_char_p),
        ("host", c_char_p),
        ("command", c_char_p),
        ("pid", c_int64),
        ("created", c_int64),
        ("age_ms", c_int64),
        ("state", c_int32),
    ]


_FUNCTIONS: List[Tuple[Any, ...]] = [  # name, result, arguments
    ("lf_open", c_int32, c_char_p, c_uint32, POINTER(c_void_p)),
    ("lf_close", None, c_void_p),
    ("lf_lock", c_int32, c_void_p),
    ("lf_wait_begin", c_int32, c_void_p, c_int64),
    ("lf_wait_fd", c_int, c_void_p),
    ("lf_wait_step", c_int32, c_void_p),
    ("lf_wait_end", c_int32, c_void_p),
    ("lf_cancel", c_int32, c_void_p),
    ("lf_unlock", c_int32, c_void_p),
    ("lf_holds", c_int32, c_void_p),
    ("lf_in_use", c_int32, c_void_p, POINTER(c_bool)),
    ("lf_reap_stale", c_int32, c_void_p, POINTER(c_size_t)),
    ("lf_fence", c_int32, c_void_p, POINTER(c_uint64)),
    ("lf_set_malformed_grace", c_int32, c_void_p, c_uint32),
    ("lf_set_lease", c_int32, c_void_p, c_uint32),
    ("lf_set_slots", c_int32, c_void_p, c_uint32),
    ("lf_renew", c_int32, c_void_p),
    ("lf_valid_for", c_int32, c_void_p, POINTER(c_int64)),
    ("lf_lost_fd", c_int, c_void_p),
    ("lf_bids", c_int32, c_void_p, POINTER(c_void_p)),
    ("lf_bid_list_len", c_size_t, c_void_p),
    ("lf_bid_list_get", POINTER(CBid), c_void_p, c_size_t),
    ("lf_bid_list_free", None, c_void_p),
    ("lf_error_message", c_size_t, c_void_p, c_char_p, c_size_t),
    ("lf_error_code", c_int, c_void_p),
    ("lf_status_name", c_char_p, c_int32),
    ("lf_version", c_char_p),
]
for _name, _result, *_arguments in _FUNCTIONS:
    _function = getattr(lib, _name)
    _function.restype = _result
    _function.argtypes = _arguments

LF_OK = 0
LF_PENDING = 4
LF_ERR_NOT_HELD = -2
LF_ERR_LOST = -4


def version() -> str:
    """The version of the C library that is loaded."""
    return str(lib.lf_version().decode())


def status_name(status: int) -> str:
    return str(lib.lf_status_name(status).decode())
