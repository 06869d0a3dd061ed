# SPDX-License-Identifier: ISC
"""mkfifo(3), mkfifoat(3)."""

import os

from common import at_cases, create_cases, mode_cases, owner_cases, path_cases
from kit import D, F, Fd, case, no, ok, see

path_cases("mkfifo", (), (0o644,), target=None, result="+")
at_cases("mkfifoat", (), (0o644,), target=None, result="+")
create_cases("mkfifo", (), (0o644,))
owner_cases("mkfifo", (0o644,), "fifo")
mode_cases("mkfifo", (), (), "fifo", (0, 0o111, 0o222, 0o444, 0o644, 0o777, 0o1777, 0o4755), keeps=0o7777)

case("a new FIFO is empty and has one name", [], ok("mkfifo", "p", 0o644),
     see("p", nlink=1, size=0, type="fifo"))
case("what is written into it can be read", [],
     ok("mkfifo", "p", 0o600), ok("open", "p", os.O_RDONLY | os.O_NONBLOCK, fd="r"),
     ok("open", "p", os.O_WRONLY | os.O_NONBLOCK, fd="w"), ok("write", Fd("w"), "hello", 5, ret=5),
     ok("read_fd", Fd("r"), 10, ret=b"hello"))
case("ENOENT with a slash at the end", [], no("ENOENT", "mkfifo", "p/", 0o644))
case("EROFS", [D("d"), F("f")], no("EROFS", "mkfifo", "p", 0o644), no("EROFS", "mkfifo", "d/p", 0o644),
     no("EEXIST", "mkfifo", "f", 0o644), readonly=True)
