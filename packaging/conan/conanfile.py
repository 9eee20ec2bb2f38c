"""The recipe of conan (2) for the library: `conan create packaging/conan`, in a clone of the project.

It builds the sources of this clone by Rust, which conan does not bring: `cargo` must be there. See docs/packages.md.
"""

import os
import re

from conan import ConanFile
from conan.errors import ConanInvalidConfiguration
from conan.tools.files import copy, load, rm

required_conan_version = ">=2.0"
ROOT = os.path.join("..", "..")
# What the library is built from. Cargo wants every file that Cargo.toml names to be there.
SOURCES = [
    "Cargo.toml", "Cargo.lock", "LICENSE", "build.rs", "include/*", "src/*", "cli/*", "tests/support/*", "tests/soak/*",
    "packaging/libraries", "packaging/static-library", "packaging/shared-library", "packaging/native-static-libs",
    "packaging/lockfolder.pc.in",
]  # fmt: skip


class Lockfolder(ConanFile):
    name = "lockfolder"
    description = "A mutex between processes that lives in a folder"
    license = "MIT"
    topics = ("lock", "mutex", "lockfile", "interprocess")
    package_type = "library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"shared": [True, False]}
    default_options = {"shared": False}

    def set_version(self):
        manifest = load(self, os.path.join(self.recipe_folder, ROOT, "Cargo.toml"))
        self.version = re.search(r'^version = "(.*)"', manifest, re.M).group(1)

    def export_sources(self):
        for pattern in SOURCES:
            copy(self, pattern, os.path.join(self.recipe_folder, ROOT), self.export_sources_folder)

    def validate(self):
        if self.settings.os != "Linux" or self.settings.arch != "x86_64":
            raise ConanInvalidConfiguration("lockfolder's libraries are made on Linux x86_64 alone")

    def package_id(self):
        # The interface is C, and Rust's release profile builds it in either case.
        del self.info.settings.compiler
        del self.info.settings.build_type

    def build(self):
        kind = "shared" if self.options.shared else "static"
        out, target = (os.path.join(self.build_folder, name) for name in ("out", "target"))
        self.run(f'packaging/libraries {kind} "{out}" "{target}"', cwd=self.source_folder)

    def package(self):
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))
        copy(self, "*", os.path.join(self.build_folder, "out"), self.package_folder)
        # Conan makes the .pc file for who asks for one.
        rm(self, "*.pc", self.package_folder, recursive=True)

    def package_info(self):
        self.cpp_info.libs = ["lockfolder"]
        self.cpp_info.set_property("cmake_file_name", "lockfolder")
        self.cpp_info.set_property("cmake_target_name", "lockfolder::lockfolder")
        self.cpp_info.set_property("pkg_config_name", "lockfolder")
        if not self.options.shared:
            flags = load(self, os.path.join(self.package_folder, "native-static-libs")).split()
            self.cpp_info.system_libs = [flag[2:] for flag in flags]
