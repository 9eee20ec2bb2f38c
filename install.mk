# make install [PREFIX=/usr/local] [LIBDIR=$PREFIX/lib] [DESTDIR=]      and `make uninstall` with the same values
#
# What is installed is gathered in target/stage first (`make` does that too), so that `sudo make install` only copies.

PREFIX     ?= /usr/local
BINDIR     ?= $(PREFIX)/bin
INCLUDEDIR ?= $(PREFIX)/include
LIBDIR     ?= $(PREFIX)/lib
MANDIR     ?= $(PREFIX)/share/man
DOCDIR     ?= $(PREFIX)/share/doc/lockfolder
# Files that are installed name these paths.
override PREFIX := $(abspath $(PREFIX))
override LIBDIR := $(abspath $(LIBDIR))
INSTALL    ?= install
AR         ?= ar
NM         ?= nm
OBJCOPY    ?= objcopy
RUSTC      ?= rustc

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
SONAME  := liblockfolder.so.$(firstword $(subst ., ,$(VERSION)))
STAGE   := target/stage$(if $(ETCD),-etcd)
# The contract, which the header names, and the pages that it refers to.
PAGES   := $(patsubst %,docs/%.md,command contract etcd filesystems guarantees leases platforms protocol waiting)
# Where each shell looks for completions.
BASH_COMPLETIONS ?= $(PREFIX)/share/bash-completion/completions
FISH_COMPLETIONS ?= $(PREFIX)/share/fish/vendor_completions.d
ZSH_COMPLETIONS  ?= $(PREFIX)/share/zsh/site-functions

.PHONY: staged install uninstall abi

staged: $(STAGE)/complete

$(STAGE)/complete: $(shell find src packaging cli/src cli/pages cli/Cargo.toml -type f) include/lockfolder.h Cargo.toml Cargo.lock \
                   build.rs install.mk
	@CARGO='$(CARGO)' CC='$(CC)' NM='$(NM)' RUSTC='$(RUSTC)' scripts/needed
	$(CARGO) build --release --locked $(WITH)
	@rm -rf $(STAGE) && mkdir -p $(STAGE)/man
	CC='$(CC)' AR='$(AR)' NM='$(NM)' OBJCOPY='$(OBJCOPY)' packaging/static-library $(BUILT) $(STAGE)/liblockfolder.a
	CC='$(CC)' RUSTC='$(RUSTC)' packaging/shared-library $(STAGE)/liblockfolder.a $(SONAME) $(STAGE)/liblockfolder.so
	RUSTC='$(RUSTC)' packaging/native-static-libs >$(STAGE)/native-static-libs
	packaging/man/make include/lockfolder.h $(VERSION) $(STAGE)/man
	cp cli/pages/*.1 $(STAGE)/man/
	CARGO='$(CARGO)' CC='$(CC)' RUSTC='$(RUSTC)' packaging/command $(STAGE)/lockfolder
	@touch $@

# packaging/install reads these from its environment, and not from its command line, so that a blank in them does no harm. Only these
# two targets export them: another one may start `make install` with another PREFIX, and would hand on all the rest.
TOLD := PREFIX BINDIR INCLUDEDIR LIBDIR MANDIR DOCDIR DESTDIR BASH_COMPLETIONS FISH_COMPLETIONS ZSH_COMPLETIONS \
        VERSION SONAME STAGE PAGES INSTALL
$(foreach it,$(TOLD),$(eval install uninstall: export $(it) := $$($(it))))

install: $(STAGE)/complete ## installs below PREFIX (/usr/local); DESTDIR and LIBDIR as usual
	@packaging/install install

uninstall: ## removes what `make install` with the same PREFIX, DESTDIR and LIBDIR made; builds nothing
	@packaging/install uninstall

abi: ## renews packaging/abi/lockfolder.abi, the description of the ABI
	packaging/abi/make packaging/abi/lockfolder.abi
