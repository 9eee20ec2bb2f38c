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
	$(CARGO) build --release --locked $(WITH)
	@rm -rf $(STAGE) && mkdir -p $(STAGE)/man
	CC='$(CC)' AR='$(AR)' NM='$(NM)' OBJCOPY='$(OBJCOPY)' packaging/static-library $(BUILT) $(STAGE)/liblockfolder.a
	CC='$(CC)' RUSTC='$(RUSTC)' packaging/shared-library $(STAGE)/liblockfolder.a $(SONAME) $(STAGE)/liblockfolder.so
	RUSTC='$(RUSTC)' packaging/native-static-libs >$(STAGE)/native-static-libs
	packaging/man/make include/lockfolder.h $(VERSION) $(STAGE)/man
	cp cli/pages/*.1 $(STAGE)/man/
	CARGO='$(CARGO)' CC='$(CC)' RUSTC='$(RUSTC)' packaging/command $(STAGE)/lockfolder
	@touch $@

# Paths below the prefix are written relative to it.
FILL = sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' -e 's|@SONAME@|$(SONAME)|' \
    -e "s|@LIBS_PRIVATE@|$$(cat $(STAGE)/native-static-libs)|" \
    -e 's|@LIBDIR@|$(patsubst $(PREFIX)/%,$${prefix}/%,$(LIBDIR))|' \
    -e 's|@INCLUDEDIR@|$(patsubst $(PREFIX)/%,$${prefix}/%,$(INCLUDEDIR))|' \
    -e "s|@LIBDIR_TO_INCLUDEDIR@|$$(realpath -ms --relative-to=$(LIBDIR) $(INCLUDEDIR))|"

install: $(STAGE)/complete ## installs below PREFIX (/usr/local); DESTDIR and LIBDIR as usual
	$(INSTALL) -d $(addprefix $(DESTDIR),$(BINDIR) $(INCLUDEDIR) $(LIBDIR)/pkgconfig $(LIBDIR)/cmake/lockfolder \
	    $(MANDIR)/man1 $(MANDIR)/man3 $(DOCDIR) $(BASH_COMPLETIONS) $(FISH_COMPLETIONS) $(ZSH_COMPLETIONS))
	$(INSTALL) -m 644 include/lockfolder.h include/lockfolder.hpp $(DESTDIR)$(INCLUDEDIR)/
	$(INSTALL) -m 755 $(STAGE)/liblockfolder.so $(DESTDIR)$(LIBDIR)/liblockfolder.so.$(VERSION)
	ln -sf liblockfolder.so.$(VERSION) $(DESTDIR)$(LIBDIR)/$(SONAME)
	ln -sf liblockfolder.so.$(VERSION) $(DESTDIR)$(LIBDIR)/liblockfolder.so
	$(INSTALL) -m 644 $(STAGE)/liblockfolder.a $(DESTDIR)$(LIBDIR)/
	$(FILL) packaging/lockfolder.pc.in >$(DESTDIR)$(LIBDIR)/pkgconfig/lockfolder.pc
	for file in lockfolder-config lockfolder-config-version; do \
	    $(FILL) packaging/cmake/$$file.cmake.in >$(DESTDIR)$(LIBDIR)/cmake/lockfolder/$$file.cmake || exit; done
	$(INSTALL) -m 755 $(STAGE)/lockfolder $(DESTDIR)$(BINDIR)/
	$(INSTALL) -m 644 cli/pages/lockfolder.bash $(DESTDIR)$(BASH_COMPLETIONS)/lockfolder
	$(INSTALL) -m 644 cli/pages/lockfolder.fish $(DESTDIR)$(FISH_COMPLETIONS)/
	$(INSTALL) -m 644 cli/pages/_lockfolder $(DESTDIR)$(ZSH_COMPLETIONS)/
	$(INSTALL) -m 644 $(STAGE)/man/*.1 $(DESTDIR)$(MANDIR)/man1/
	$(INSTALL) -m 644 $(STAGE)/man/*.3 $(DESTDIR)$(MANDIR)/man3/
	$(INSTALL) -m 644 $(PAGES) $(DESTDIR)$(DOCDIR)/

uninstall: $(STAGE)/complete ## removes what `make install` with the same PREFIX, DESTDIR and LIBDIR made
	rm -f $(addprefix $(DESTDIR)$(INCLUDEDIR)/,lockfolder.h lockfolder.hpp)
	rm -f $(addprefix $(DESTDIR)$(LIBDIR)/liblockfolder,.so.$(VERSION) .so .a) $(DESTDIR)$(LIBDIR)/$(SONAME)
	rm -f $(DESTDIR)$(LIBDIR)/pkgconfig/lockfolder.pc $(DESTDIR)$(LIBDIR)/cmake/lockfolder/lockfolder-config*.cmake
	rm -f $(addprefix $(DESTDIR),$(BINDIR)/lockfolder $(BASH_COMPLETIONS)/lockfolder $(FISH_COMPLETIONS)/lockfolder.fish \
	    $(ZSH_COMPLETIONS)/_lockfolder)
	cd $(STAGE)/man && for page in *; do rm -f $(DESTDIR)$(MANDIR)/man$${page##*.}/$$page; done
	rm -f $(addprefix $(DESTDIR)$(DOCDIR)/,$(notdir $(PAGES)))
	-rmdir $(DESTDIR)$(LIBDIR)/cmake/lockfolder $(DESTDIR)$(DOCDIR)

abi: ## renews packaging/abi/lockfolder.abi, the description of the ABI
	packaging/abi/make packaging/abi/lockfolder.abi
