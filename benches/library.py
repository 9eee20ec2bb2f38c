"""The size of the shared library, by the crate that the code is from."""

import collections
import re
import subprocess

# The standard library's own crates. Some of them print backtraces.
STD = {"core", "alloc", "std", "std_detect", "__rustc", "hashbrown"}
BACKTRACES = {"gimli", "addr2line", "miniz_oxide", "adler2", "rustc_demangle", "object"}
NAMES = {"serde_json": "serde_json", "serde_core": "serde_json", "itoa": "serde_json", "zmij": "serde_json", "memchr": "serde_json"}
OURS = {"rustix", "linux_raw_sys", "bitflags", "uuid", "lockfolder"}


def crates(library):
    """Bytes of code and data by crate, from the symbols. Inlined code counts for the crate that it was inlined into."""
    names = subprocess.run(["nm", "--print-size", "--demangle", library], check=True, capture_output=True, text=True).stdout
    sizes = collections.Counter()
    for size, name in re.findall(r"^[0-9a-f]+ ([0-9a-f]+) \w (.*)$", names, re.M):
        sizes[owner(name)] += int(size, 16)
    return dict(sizes)


def owner(symbol):
    if symbol.startswith("lf_"):
        return "lockfolder"
    words = re.findall(r"[A-Za-z_][A-Za-z_0-9]*(?=::)", symbol)
    # A generic function of std counts for the crate that it was made for.
    for word in words:
        if word in BACKTRACES or "backtrace_rs" in symbol:
            return "std: backtraces"
        if word in NAMES:
            return NAMES[word]
        if word in OURS:
            return word
    return "std" if any(word in STD for word in words) else "rest"


def by_crate(sizes):
    return [[name, f"{size:,}"] for name, size in sorted(sizes.items(), key=lambda at: -at[1])]
