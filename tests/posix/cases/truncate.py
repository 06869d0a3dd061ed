# SPDX-License-Identifier: ISC
"""truncate(2), ftruncate(2)."""

import os

from common import path_cases
from kit import A, B, D, F, FIFO, GA, GX, H, L, P, PROGRAM, ROOT, S, SOCKET, Fd, case, no, ok, see

path_cases("truncate", (), (0,), result="+")

HELLO = F("f", data=b"hello, world")
for size, data in ((0, b""), (5, b"hello"), (12, b"hello, world"), (20, b"hello, world" + bytes(8))):
    times = "f:mc" if size != 12 else ""
    case("to %d bytes" % size, [D("d"), HELLO._replace(path="d/f")],
         ok("truncate", "d/f", size, times=times and "d/f:mc d:?"), see("d/f", size=size, data=data))
    case("ftruncate to %d bytes" % size, [HELLO], ok("open", "f", os.O_WRONLY, fd="f"),
         ok("ftruncate", Fd("f"), size, times="f:mc @f:mc"), see("f", size=size, data=data),
         see(Fd("f"), size=size))
case("keeps mode and owner", [F("f", 0o640, size=9000, own=(A, GX))],
     ok("truncate", "f", 4097, by=A), see("f", mode=0o640, own=(A, GX), size=4097))
case("large and small again", [F("f", data=b"x" * 10000)],
     ok("truncate", "f", 2**33), see("f", size=2**33), ok("truncate", "f", 9999), see("f", data=b"x" * 9999),
     ok("truncate", "f", 10001), see("f", data=b"x" * 9999 + b"\0\0"), ok("truncate", "f", 0),
     see("f", data=b""))
case("what was cut off does not come back", [F("f", data=b"secret" * 2000)],
     ok("truncate", "f", 3), ok("truncate", "f", 12000), see("f", data=b"sec" + bytes(11997)))
case("an open descriptor sees it", [HELLO], ok("open", "f", os.O_RDONLY, fd="f"), ok("truncate", "f", 5),
     see(Fd("f"), size=5, data=b"hello"), ok("truncate", "f", 6), see(Fd("f"), size=6, data=b"hello\0"))
case("all names of a file have its size", [HELLO, H("g", "f"), D("d"), H("d/h", "f")],
     ok("truncate", "g", 5, times="f:mc d/h:mc"),
     [see(n, data=b"hello", inode="g") for n in ("f", "g", "d/h")],
     ok("open", "f", os.O_RDWR, fd="f"), ok("ftruncate", Fd("f"), 2), see("d/h", size=2, data=b"he"))
case("follows links", [HELLO, L("l", "m"), L("m", "f")], ok("truncate", "l", 5), see("f", size=5),
     see("l", target="m"))
case("EISDIR", [D("d"), L("l", "d")], no("EISDIR", "truncate", "d", 0), no("EISDIR", "truncate", "l", 0),
     no("EISDIR", "truncate", ".", 0))
case("EINVAL for a negative length", [HELLO], no("EINVAL", "truncate", "f", -1),
     no("EINVAL", "truncate", "f", -2**63))
case("EINVAL for what is no file", [FIFO("p"), SOCKET("s")], no("EINVAL", "truncate", "p", 0),
     no("EINVAL", "truncate", "s", 0))
case("ENOTDIR with a slash behind the name of a file", [HELLO], no("ENOTDIR", "truncate", "f/", 0))
case("EFBIG beyond what the file system can have", [HELLO], no("EFBIG", "truncate", "f", 2**63 - 1),
     ok("open", "f", os.O_WRONLY, fd="f"), no("EFBIG", "ftruncate", Fd("f"), 2**63 - 1),
     see("f", data=b"hello, world"))
case("EFBIG beyond the limit of the process", [HELLO], ok("limit_size", 1000),
     no("EFBIG", "truncate", "f", 1001),
     ok("truncate", "f", 1000), see("f", size=1000))
case("ETXTBSY for a running program", [PROGRAM("p")], ok("start", "p"), no("ETXTBSY", "truncate", "p", 0),
     no("ETXTBSY", "truncate", "p", 10**6))
case("EACCES without write permission, for the owner too", [F("f", 0o555, size=3)],
     no("EACCES", "truncate", "f", 0), no("EACCES", "truncate", "f", 3))
for mode, allowed in ((0o644, "A"), (0o664, "APS"), (0o646, "AB"), (0o460, "PS"), (0o402, "B")):
    case("of a file of mode %o" % mode,
         [F("f" + u.name, mode, size=9, own=(A, GA)) for u in (A, P, S, B, ROOT)],
         [[ok("truncate", "f" + u.name, 4, by=u), see("f" + u.name, size=4)] if u.name in allowed + "root"
          else no("EACCES", "truncate", "f" + u.name, 4, by=u) for u in (A, P, S, B, ROOT)])
case("ftruncate: of a file without a name", [HELLO], ok("open", "f", os.O_RDWR, fd="f"), ok("unlink", "f"),
     ok("ftruncate", Fd("f"), 5, times="@f:mc"), see(Fd("f"), size=5, nlink=0, data=b"hello"))
case("ftruncate: of a file that was renamed", [HELLO, D("d")], ok("open", "f", os.O_RDWR, fd="f"),
     ok("rename", "f", "d/g"), ok("rename", "d", "e"), ok("ftruncate", Fd("f"), 5), see("e/g", data=b"hello"))
case("ftruncate: needs no permission any more", [HELLO], ok("open", "f", os.O_RDWR, fd="f"),
     ok("chmod", "f", 0),
     ok("ftruncate", Fd("f"), 5), see("f", size=5, mode=0))
case("ftruncate: EINVAL for a descriptor that is not for writing", [HELLO],
     ok("open", "f", os.O_RDONLY, fd="f"),
     no("EINVAL", "ftruncate", Fd("f"), 0), no("EINVAL", "ftruncate", Fd("f"), 12))
case("ftruncate: EINVAL for a negative length", [HELLO], ok("open", "f", os.O_RDWR, fd="f"),
     no("EINVAL", "ftruncate", Fd("f"), -1))
case("ftruncate: EINVAL for what is no file", [D("d"), FIFO("p")], ok("open", "d", os.O_RDONLY, fd="d"),
     no("EINVAL", "ftruncate", Fd("d"), 0), ok("open", "p", os.O_RDWR, fd="p"),
     no("EINVAL", "ftruncate", Fd("p"), 0))
case("ftruncate: EBADF", [HELLO], no("EBADF", "ftruncate", 9999, 0), no("EBADF", "ftruncate", -1, 0),
     ok("open", "f", os.O_PATH, fd="f"), no("EBADF", "ftruncate", Fd("f"), 0))
case("EROFS", [HELLO, D("d")], no("EROFS", "truncate", "f", 0), no("EROFS", "truncate", "f", 12),
     no("EISDIR", "truncate", "d", 0), no("ENOENT", "truncate", "none", 0), readonly=True)
