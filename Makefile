# SPDX-License-Identifier: ISC
# Everything a packager may want to set: CC CFLAGS CPPFLAGS LDFLAGS PREFIX DESTDIR.
# Objects go to $(BUILD), so that the sanitizer builds live beside the ordinary one.

VERSION = $(shell sed -n 's/^#define VERSION "\(.*\)"/\1/p' main.c)
PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
MANDIR ?= $(PREFIX)/share/man
BASHDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR ?= $(PREFIX)/share/zsh/site-functions
FISHDIR ?= $(PREFIX)/share/fish/vendor_completions.d
CC ?= cc
CFLAGS ?= -Os -g -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fno-asynchronous-unwind-tables
LDFLAGS ?= -Wl,-z,relro,-z,now
PKG_CONFIG ?= pkg-config
BUILD ?= build
BIN ?= overlayfs

SRCS := $(sort $(wildcard *.c))
OBJS := $(SRCS:%.c=$(BUILD)/%.o)
UNIT := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(sort $(wildcard tests/unit/test_*.c)))
SUITES ?= tests/
SEEDS ?= 100
START ?= 1
OPS ?= 500
FORMAT ?= all
JOBS ?= 2
SCRIPTS := tools/deps tools/demo tests/suites .ci/run
PKGS = fuse3 libbsd-overlay libxxhash libarchive
FUSE_MIN = 3.14

# Asked once, and only when something is compiled: `make demo` may have to install them first.
PKG_CFLAGS = $(eval PKG_CFLAGS := $$(patsubst -I%,-isystem %,$$(shell \
	$(PKG_CONFIG) --cflags $(PKGS))))$(PKG_CFLAGS)
PKG_LIBS = $(eval PKG_LIBS := $$(shell $(PKG_CONFIG) --libs $(PKGS)))$(PKG_LIBS)
WARN = -Wall -Wextra -Wpedantic -Wshadow -Wconversion
DEFS = -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64
COMPILE = $(CC) -std=gnu11 $(WARN) $(DEFS) $(CPPFLAGS) $(PKG_CFLAGS) $(CFLAGS) -pthread
LIBS = $(PKG_LIBS) -pthread

all: $(BIN)

$(BIN): $(OBJS)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(OBJS) $(LIBS)

$(BUILD)/%.o: %.c | $(BUILD)/unit
	$(COMPILE) -MMD -MP -c -o $@ $<

$(BUILD)/unit/%: tests/unit/%.c $(filter-out $(BUILD)/main.o,$(OBJS))
	$(COMPILE) -I. -MMD -MP -MF $@.d $(LDFLAGS) -o $@ $(filter %.c %.o,$^) $(LIBS)

$(BUILD)/unit:
	@$(PKG_CONFIG) --atleast-version=$(FUSE_MIN) fuse3 || \
		{ echo 'libfuse $(FUSE_MIN) or later is needed' >&2; exit 1; }
	@$(PKG_CONFIG) --exists $(PKGS) || \
		{ echo 'missing: one of $(PKGS); "tools/deps build" installs them' >&2; exit 1; }
	@mkdir -p $@

check:
	@tools/deps check
	@rc=0; $(MAKE) check-unit || rc=1; $(MAKE) check-bats || rc=1; exit $$rc

# A program that speaks TAP counts by its lines, any other one counts as one test.
check-unit: $(UNIT)
	@passed=0; failed=0; for t in $(UNIT); do \
		echo "# $$t"; $$t >$$t.out; rc=$$?; cat $$t.out; \
		ok=$$(grep -c '^ok ' $$t.out); bad=$$(grep -c '^not ok ' $$t.out); \
		if [ $$rc -ne 0 ] && [ $$bad -eq 0 ]; then echo "not ok - $$t: exit $$rc"; bad=1; fi; \
		if [ $$((ok + bad)) -eq 0 ]; then ok=1; fi; \
		passed=$$((passed + ok)); failed=$$((failed + bad)); \
	done; echo "$$passed passed, $$failed failed"; [ $$failed -eq 0 ]

check-bats: $(BIN)
	OVERLAYFS=$(abspath $(BIN)) tests/suites $(JOBS) $(SUITES)

# As long as one likes, e.g. make fuzz-diff SEEDS=2000 FORMAT=wh WHO=user; see CONTRIBUTING.md.
fuzz-diff: $(BIN)
	tests/differential/run --binary $(abspath $(BIN)) --keep-going --seeds $(SEEDS) --start $(START) \
		--ops $(OPS) --format $(FORMAT) --jobs $(JOBS) $(if $(WHO),--user $(WHO))

# What takes minutes, or large packages.
check-slow:
	@tools/deps check slow
	@$(MAKE) check-bats JOBS=1 SUITES=tests/slow

demo:
	@tools/deps demo
	@$(MAKE) -s all
	@OVERLAYFS=$(abspath $(BIN)) tools/demo

bench:
	@tools/deps bench
	@$(MAKE) all
	OVERLAYFS=$(abspath $(BIN)) bench/bench $(BENCHFLAGS)

# The same suites with another binary. No address randomisation for tsan: its shadow memory
# has fixed addresses, which kernels with vm.mmap_rnd_bits > 28 would give to something else.
asan: SAN = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
tsan: SAN = -O1 -g -fno-omit-frame-pointer -fsanitize=thread
tsan: RUN = setarch -R
asan tsan:
	@tools/deps check
	$(MAKE) BUILD=build-$@ BIN=build-$@/overlayfs CFLAGS='$(SAN)' all
	$(RUN) $(MAKE) BUILD=build-$@ BIN=build-$@/overlayfs CFLAGS='$(SAN)' check-unit check-bats

lint:
	@tools/deps lint
	clang-format --dry-run -Werror $(wildcard *.[ch] tests/unit/*.[ch])
	printf '%s\n' $(SRCS) | xargs -n 4 -P $(JOBS) sh -c 'exec clang-tidy --quiet \
		--warnings-as-errors="*" "$$@" -- -std=gnu11 $(DEFS) $(PKG_CFLAGS)' sh
	cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr \
		--error-exitcode=1 $(DEFS) $(subst -isystem ,-I,$(PKG_CFLAGS)) $(SRCS)
	shellcheck $(SCRIPTS)
	shellcheck -s bash completions/overlayfs.bash
	shellcheck -s bats -e SC2016,SC2119,SC2120 $(wildcard tests/*.bats tests/*/*.bats tests/*.bash)
	mandoc -Tlint -Wwarning overlayfs.1

# With a PREFIX of /usr/local or /usr, mount -t fuse.overlayfs needs nothing more: mount(8) removes
# PATH, and mount.fuse3 has sh run the "overlayfs" that it finds in its built-in path.
install: $(BIN)
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(MANDIR)/man1 $(DESTDIR)$(BASHDIR) \
		$(DESTDIR)$(ZSHDIR) $(DESTDIR)$(FISHDIR)
	install -m 755 $(BIN) $(DESTDIR)$(BINDIR)/overlayfs
	install -m 644 overlayfs.1 $(DESTDIR)$(MANDIR)/man1/overlayfs.1
	install -m 644 completions/overlayfs.bash $(DESTDIR)$(BASHDIR)/overlayfs
	install -m 644 completions/_overlayfs $(DESTDIR)$(ZSHDIR)/_overlayfs
	install -m 644 completions/overlayfs.fish $(DESTDIR)$(FISHDIR)/overlayfs.fish

uninstall:
	rm -f $(DESTDIR)$(BINDIR)/overlayfs $(DESTDIR)$(MANDIR)/man1/overlayfs.1 \
		$(DESTDIR)$(BASHDIR)/overlayfs $(DESTDIR)$(ZSHDIR)/_overlayfs \
		$(DESTDIR)$(FISHDIR)/overlayfs.fish

dist:
	git archive --prefix=overlayfs-$(VERSION)/ -o overlayfs-$(VERSION).tar.gz HEAD

clean:
	rm -rf build build-asan build-tsan overlayfs overlayfs-*.tar.gz

.PHONY: all check check-unit check-bats check-slow fuzz-diff demo bench asan tsan lint install \
	uninstall dist clean

-include $(OBJS:.o=.d) $(UNIT:=.d)
