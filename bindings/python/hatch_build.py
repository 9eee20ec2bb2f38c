"""Puts the library into the wheel, and its source into the sdist. So `pip install` needs no `make install` before.

Environment:
    LOCKFOLDER_PREBUILT       a library to take, instead of building one by cargo (packaging/wheels)
    LOCKFOLDER_PLATFORM       the platform tag that goes with it, such as manylinux_2_17_x86_64
    LOCKFOLDER_SYSTEM_LIBRARY 1: the wheel carries no library, and the system's is loaded (`make install`)
"""

import os
import pathlib
import shutil
import subprocess
import sysconfig
import tempfile
from typing import Any, Dict

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# What cargo builds the library from, as in Cargo.toml `include`, and the lock file.
SOURCES = ["src", "include", "build.rs", "cbindgen.toml", "LICENSE", "Cargo.lock"]


class CustomBuildHook(BuildHookInterface[Any]):
    """Hatchling calls it for each target. It writes nothing into the checkout, which may be read-only."""

    def initialize(self, version: str, build_data: Dict[str, Any]) -> None:
        self._scratch = tempfile.mkdtemp(prefix="lockfolder-build-")
        if self.target_name == "sdist":
            self._add_source(build_data)
        elif version != "editable" and os.environ.get("LOCKFOLDER_SYSTEM_LIBRARY") != "1":
            self._add_library(build_data)

    def finalize(self, version: str, build_data: Dict[str, Any], artifact_path: str) -> None:
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _add_library(self, build_data: Dict[str, Any]) -> None:
        library = os.environ.get("LOCKFOLDER_PREBUILT") or self._built()
        platform = os.environ.get("LOCKFOLDER_PLATFORM") or sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"
        build_data["force_include"][library] = "lockfolder_native/liblockfolder.so"

    def _project(self) -> pathlib.Path:
        """The Rust project: in an sdist it is a folder of ours, and in a checkout we are a folder of it."""
        here = pathlib.Path(self.root)
        return here / "rust" if (here / "rust").is_dir() else here.parent.parent

    def _built(self) -> str:
        project = self._project()
        target = os.environ.get("CARGO_TARGET_DIR") or self._scratch
        command = [os.environ.get("CARGO", "cargo"), "build", "--release", "--lib", "--target-dir", target]
        if (project / "cli").is_dir():  # the sdist has less in its workspace than the lock file
            command.append("--locked")
        environment = {name: value for name, value in os.environ.items() if name != "CARGO_BUILD_TARGET"}
        try:
            subprocess.run(command, cwd=project, env=environment, check=True)
        except FileNotFoundError as error:
            raise SystemExit(
                "lockfolder-native is built by Rust, and there is no `cargo`. Install Rust (https://rustup.rs), or take a wheel, "
                "or set LOCKFOLDER_SYSTEM_LIBRARY=1 to use the library that `make install` has installed."
            ) from error
        return os.path.join(target, "release", "liblockfolder.so")

    def _add_source(self, build_data: Dict[str, Any]) -> None:
        project = self._project()
        manifest = pathlib.Path(self._scratch, "Cargo.toml")
        manifest.write_text(_library_only((project / "Cargo.toml").read_text()))
        build_data["force_include"][str(manifest)] = "rust/Cargo.toml"
        for name in SOURCES:
            build_data["force_include"][str(project / name)] = f"rust/{name}"


def _library_only(manifest: str) -> str:
    """Cargo.toml without the sections of what an sdist does not have: the command, the tests and their dependencies."""
    kept, ours = [], True
    for line in manifest.splitlines(keepends=True):
        if line.startswith("["):
            ours = not line.startswith(("[workspace", "[dev-dependencies", "[[example")) and "dev-dependencies" not in line
        if ours and not line.startswith("readme ="):
            kept.append(line)
    return "".join(kept) + "\n[workspace]\n"
