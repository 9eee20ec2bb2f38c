# make demo   the main job, on real processes
# make check  the quick tests, for two minutes; installs nothing
# make test   everything, for an hour; installs what it needs where it may, and says what it could not run
# make bench  how fast it is, beside others: docs/benchmarks.md
# make help   the other targets

CARGO  ?= cargo
CC     ?= cc
CFLAGS ?= -O2 -g
STRICT := -std=c11 -Wall -Wextra -Wpedantic -Werror
OUT    := target/examples-c
BUILT  := target/release

# Many people have one build folder for all of their projects (CARGO_TARGET_DIR, or target-dir in cargo's configuration). What is
# made here has its place in target/, so cargo builds there too. The scripts do the same: scripts/need.
export CARGO_TARGET_DIR := $(CURDIR)/target
unexport CARGO_BUILD_TARGET

# A program for each file, but race has several.
EXAMPLES := $(patsubst examples-c/%.c,$(OUT)/%,$(filter-out examples-c/race_%,$(wildcard examples-c/*.c)))

.PHONY: site soak-etcd check test-newcomer wheels npm go zig all lib command examples demo test test-hosts test-hosts-quick test-windows check-platforms soak mutants fuzz loom tsan check-rust-version coverage bench header help clean

# `make ETCD=1 …`: with locks on etcd (docs/etcd.md).
ETCD   ?=
WITH   := $(if $(ETCD),--features lockfolder/etcd)
export LOCKFOLDER_WITH := $(WITH)

all: lib examples staged

include install.mk

lib: ## the library: target/release/liblockfolder.{so,a}
	@CARGO='$(CARGO)' CC='$(CC)' NM='$(NM)' RUSTC='$(RUSTC)' scripts/needed
	$(CARGO) build --release --locked $(WITH)

command: ## the command `lockfolder`, as it is installed: target/release/lockfolder
	CARGO='$(CARGO)' CC='$(CC)' packaging/command

examples: lib $(EXAMPLES) ## the C programs of examples-c/, into target/examples-c/

# The version of the library is in its file name only when it is installed; here a link serves the soname.
$(OUT)/%: examples-c/%.c include/lockfolder.h $(BUILT)/liblockfolder.so
	@mkdir -p $(OUT)
	@ln -sf liblockfolder.so $(BUILT)/liblockfolder.so.0
	$(CC) $(STRICT) $(CFLAGS) -Iinclude -o $@ $(filter %.c,$^) -L$(BUILT) -llockfolder -Wl,-rpath,'$$ORIGIN/../release' -pthread

$(OUT)/race: examples-c/race_supervise.c examples-c/race_worker.c examples-c/race_svg.c examples-c/race.h
$(OUT)/lockrun: examples-c/lockrun_posix.h

$(BUILT)/liblockfolder.so: | lib

demo: ## 8 processes compete for a folder for 10 s, and one in ten holders is killed
	@echo 'The demo takes 10 s. To build it takes a minute or two, the first time.'
	@$(MAKE) --no-print-directory examples command
	@# DEMO=etcd://…: on that etcd, with ETCD=1
	@$(if $(filter etcd%,$(DEMO)),DEMO='$(DEMO)' scripts/demo-etcd,scripts/demo)

check: ## the quick tests: under two minutes on two cores, and nothing is installed
	scripts/test check

test: ## all tests: an hour; installs what they need, where it may, and says what it could not run
	scripts/test

test-newcomer: ## what the READMEs say, to the letter, on fresh machines (debootstrap): a quarter of an hour; as root
	scripts/test-newcomer

# Packages. PLATFORMS="linux-x64-glibc linux-arm64-musl …" are built by Zig (packaging/prebuilt); the default needs Rust alone.
PLATFORMS := host

wheels: ## the wheels and the sdist of the Python binding, in target/wheels
	packaging/prebuilt $(PLATFORMS)
	packaging/wheels $(PLATFORMS)

npm: ## the tarball of the Node binding, in target/npm
	packaging/prebuilt $(PLATFORMS)
	packaging/npm $(PLATFORMS)

go: $(STAGE)/complete ## a copy of the Go binding that carries the static library, in target/go
	packaging/carried $@

zig: $(STAGE)/complete ## a copy of the Zig binding that carries the static library, in target/zig
	packaging/carried $@

SECONDS := 600
soak: ## all kinds of claimants under random kills and stops, for SECONDS=600
	scripts/soak $(SECONDS)

test-hosts: ## hosts that share a folder by NFS and SMB: emulated guests, for up to an hour; as root
	tests/hosts/run all

test-hosts-quick: ## the same for minutes: the part that `make test` has
	tests/hosts/run quick

soak-etcd: ## claimants on three real etcd members that die and are cut off, for SECONDS=600; as root
	tests/etcd/run $(SECONDS)

mutants: ## breaks the core in every small way, to see that the tests notice; for hours (FILES=src/protocol/acquire.rs)
	scripts/mutants $(FILES)

fuzz: ## libFuzzer, for FUZZ_SECONDS=120 each of two targets; the first build takes minutes
	scripts/fuzz $(FUZZ_SECONDS)

loom: ## threads that share a handle, in every order of their steps
	$(CARGO) test --locked --release --manifest-path tests/loom/Cargo.toml

tsan: ## ThreadSanitizer on what threads may share; builds Rust's library from source, for minutes (Debian 12)
	scripts/tsan

check-rust-version: ## builds with the oldest Rust that Cargo.toml promises, which rustup installs
	scripts/check-rust-version

site: ## the pages of docs/ as a site, in target/site, by mdBook, which cargo installs (minutes, the first time)
	scripts/site

coverage: ## which lines of the core the tests run, as a table (TESTS="lib threads")
	scripts/coverage $(TESTS)

test-windows: ## builds the DLL and runs it under Wine; installs what that needs
	scripts/test-windows

check-platforms: ## type-checks for the other systems, and runs the tests on musl and (emulated) aarch64
	scripts/check-platforms

bench: ## measures it beside other locks, and writes the figures into docs/benchmarks.md
	scripts/bench

header: ## makes include/lockfolder.h from src/ffi
	LOCKFOLDER_WRITE_HEADER=1 $(CARGO) test --quiet --test interfaces header::is_fresh

clean: ## removes what was built
	$(CARGO) clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
