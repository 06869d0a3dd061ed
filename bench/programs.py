# SPDX-License-Identifier: ISC
"""Workloads that are programs at work: git, make, a Debian root file system."""

import os
import subprocess

from shell import Missing, need, need_root, run
from workload import make_tree, n, workload

FILES = 4000
programs = workload("programs")

GIT = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null",
       "GIT_AUTHOR_NAME": "bench", "GIT_AUTHOR_EMAIL": "bench@localhost",
       "GIT_COMMITTER_NAME": "bench", "GIT_COMMITTER_EMAIL": "bench@localhost"}


def git(directory, *args):
    return run("git", "-C", directory, "-c", "safe.directory=*", *args, env=GIT)


def repository(dirs, _base):
    need("git")
    repo = dirs[0] / "repo"
    make_tree(repo, n(FILES))
    for i, path in enumerate(sorted(repo.glob("d*/s*/*"))):  # no two alike
        path.write_bytes(f"{i}\n".encode() + path.read_bytes())
    git(dirs[0], "init", "-q", "-b", "main", "repo")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "one")
    git(repo, "checkout", "-qb", "other")
    for path in sorted(repo.glob("d*/s*/*"))[::4]:
        path.write_text("changed\n", encoding="ascii")
    git(repo, "commit", "-qam", "two")
    git(repo, "checkout", "-q", "main")


def git_status(mnt, _base=None):
    return len(git(mnt / "repo", "status", "--porcelain"))


@programs("git status, first", "{} files", FILES, repository, cold=True)
def _(mnt, _base):
    return git_status(mnt)


@programs("git status, again", "5 times", FILES, repository, before=git_status)
def _(mnt, _base):
    return sum(git_status(mnt) for _ in range(5))


@programs("git checkout", "{} files differ", FILES // 4, repository, before=git_status)
def _(mnt, _base):
    git(mnt / "repo", "checkout", "-q", "other")
    return git_status(mnt)


@programs("git clone", "of {} files, within the mount", FILES, repository)
def _(mnt, _base):
    git(mnt, "clone", "-q", "--no-hardlinks", "repo", "clone")
    return git_status(mnt)


def sources(dirs, _base):
    need("make", "cc")
    src = dirs[0] / "src"
    src.mkdir()
    count = n(60)
    for i in range(count):
        (src / f"m{i}.c").write_text(
            '#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\n#include "all.h"\n'
            f"int f{i}(int x) {{ return printf(\"%d\\n\", x + {i}); }}\n", encoding="ascii")
    (src / "all.h").write_text("".join(f"int f{i}(int);\n" for i in range(count)),
                               encoding="ascii")
    (src / "main.c").write_text('#include "all.h"\nint main(void) { return f0(1) < 0; }\n',
                                encoding="ascii")
    (src / "Makefile").write_text(
        "OBJS := $(patsubst %.c,%.o,$(wildcard *.c))\nprog: $(OBJS)\n\tcc -o $@ $(OBJS)\n"
        "%.o: %.c all.h\n\tcc -O0 -c -o $@ $<\n", encoding="ascii")


@programs("make -j2", "{} C files", 60, sources)
def _(mnt, _base):
    run("make", "-j2", "-C", mnt / "src")
    return len(list((mnt / "src").glob("*.o")))


# A Debian root file system, made once for all workloads that have one as their lower.

PACKAGES = ["file", "less", "ed"]
ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8",
       "DEBIAN_FRONTEND": "noninteractive"}
debian_tree = []  # the archive, or the reason why there is none


def make_debian(archive):
    root = archive.with_suffix("")
    run("debootstrap", "--variant=minbase", "bookworm", root, "http://deb.debian.org/debian",
        timeout=600)
    try:
        run("chroot", root, "apt-get", "-qq", "-y", "--no-install-recommends", "--download-only",
            "install", *PACKAGES, env=ENV, timeout=300)
        run("tar", "cf", archive, "--xattrs", "-C", root, ".")
    finally:
        run("rm", "-rf", "--one-file-system", root)


def debian(dirs, base):
    need_root()
    need("debootstrap")
    archive = base.parent.parent / "debian.tar"  # outlives the layers
    if not debian_tree:
        try:
            make_debian(archive)
            debian_tree.append(None)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as e:
            debian_tree.append(f"a Debian tree: {e}")
    if debian_tree[0]:
        raise Missing(debian_tree[0])
    run("tar", "xf", archive, "--xattrs", "--xattrs-include=*", "-C", dirs[0])


@programs("find over a Debian root", "with -printf, first time", 1, debian, cold=True)
def _(mnt, _base):
    return run("find", mnt, "-printf", "%s %m %u\n").count(b"\n")


@programs("apt-get install", "of three packages in a chroot", 1, debian)
def _(mnt, _base):
    run("chroot", mnt, "apt-get", "-qq", "-y", "--no-install-recommends", "--no-download",
        "install", *PACKAGES, env=ENV)
    return len(run("chroot", mnt, "dpkg-query", "-W", *PACKAGES, env=ENV))
