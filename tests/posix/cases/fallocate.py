# SPDX-License-Identifier: ISC
"""posix_fallocate(3), fallocate(2)."""

import os

from kit import D, F, FIFO, H, Fd, case, no, ok, see
from system import COLLAPSE_RANGE, INSERT_RANGE, KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE

OPEN = ok("open", "f", os.O_RDWR, fd="f")
HELLO = F("f", data=b"hello")
BLOCKS = F("f", data=b"".join(bytes([65 + n]) * 4096 for n in range(4)))
UNKNOWN = 0x4000


def block(letters):
    return b"".join((bytes(4096) if c == "." else c.encode() * 4096) for c in letters)


case("posix_fallocate: makes the file longer", [HELLO, D("d")], OPEN,
     ok("posix_fallocate", Fd("f"), 0, 9000, times="f:mc @f:mc"),
     see("f", size=9000, data=b"hello" + bytes(8995)))
case("posix_fallocate: from the middle", [HELLO], OPEN, ok("posix_fallocate", Fd("f"), 3, 5),
     see("f", size=8, data=b"hello\0\0\0"), ok("posix_fallocate", Fd("f"), 100, 1), see("f", size=101))
case("posix_fallocate: within the file", [HELLO], OPEN, ok("posix_fallocate", Fd("f"), 0, 5),
     see("f", data=b"hello", size=5))
case("posix_fallocate: EINVAL", [HELLO], OPEN, no("EINVAL", "posix_fallocate", Fd("f"), 0, 0),
     no("EINVAL", "posix_fallocate", Fd("f"), 0, -1), no("EINVAL", "posix_fallocate", Fd("f"), -1, 5))
case("posix_fallocate: EBADF", [HELLO], no("EBADF", "posix_fallocate", 9999, 0, 5),
     ok("open", "f", os.O_RDONLY, fd="r"),
     no("EBADF", "posix_fallocate", Fd("r"), 0, 5), ok("open", "f", os.O_PATH, fd="p"),
     no("EBADF", "posix_fallocate", Fd("p"), 0, 5))
case("posix_fallocate: EFBIG", [HELLO], OPEN, no("EFBIG", "posix_fallocate", Fd("f"), 0, 2**63 - 1),
     no("EFBIG", "posix_fallocate", Fd("f"), 2**62, 2**62), see("f", data=b"hello"))
case("posix_fallocate: EFBIG beyond the limit of the process", [HELLO], OPEN, ok("limit_size", 1000),
     no("EFBIG", "posix_fallocate", Fd("f"), 0, 1001, times="?"), ok("posix_fallocate", Fd("f"), 0, 1000),
     see("f", size=1000))
case("posix_fallocate: ESPIPE for a FIFO", [FIFO("p")], ok("open", "p", os.O_RDWR, fd="p"),
     no("ESPIPE", "posix_fallocate", Fd("p"), 0, 5))
case("posix_fallocate: all names of a file", [HELLO, H("g", "f")], OPEN,
     ok("posix_fallocate", Fd("f"), 0, 50),
     see("g", size=50, nlink=2))
case("posix_fallocate: of a file without a name", [HELLO], OPEN, ok("unlink", "f"),
     ok("posix_fallocate", Fd("f"), 0, 50, times="@f:mc"), see(Fd("f"), size=50, nlink=0))
case("fallocate: KEEP_SIZE leaves the size", [HELLO], OPEN, ok("fallocate", Fd("f"), KEEP_SIZE, 0, 100000),
     see("f", size=5, data=b"hello"))
case("fallocate: PUNCH_HOLE", [BLOCKS], OPEN,
     ok("fallocate", Fd("f"), PUNCH_HOLE | KEEP_SIZE, 4096, 8192, times="f:mc"),
     see("f", data=block("A..D"), size=16384), ok("fallocate", Fd("f"), PUNCH_HOLE | KEEP_SIZE, 1, 2),
     see("f", data=b"A\0\0" + b"A" * 4093 + block("..D")), see(Fd("f"), size=16384))
case("fallocate: EOPNOTSUPP for PUNCH_HOLE without KEEP_SIZE", [HELLO], OPEN,
     no("EOPNOTSUPP", "fallocate", Fd("f"), PUNCH_HOLE, 0, 5),
     no("EOPNOTSUPP", "fallocate", Fd("f"), UNKNOWN, 0, 5))
case("fallocate: ZERO_RANGE", [BLOCKS], OPEN, ok("fallocate", Fd("f"), ZERO_RANGE, 4096, 4096),
     see("f", data=block("A.CD")),
     ok("fallocate", Fd("f"), ZERO_RANGE | KEEP_SIZE, 12288, 8192), see("f", data=block("A.C.")),
     ok("fallocate", Fd("f"), ZERO_RANGE, 12288, 8192), see("f", data=block("A.C..")))
case("fallocate: EINVAL, EBADF, EFBIG", [HELLO], OPEN, no("EINVAL", "fallocate", Fd("f"), 0, 0, 0),
     no("EINVAL", "fallocate", Fd("f"), 0, -1, 5), no("EINVAL", "fallocate", Fd("f"), 0, 0, -5),
     no("EBADF", "fallocate", 9999, 0, 0, 5),
     no("EFBIG", "fallocate", Fd("f"), 0, 2**62, 2**62),
     no("EFBIG", "fallocate", Fd("f"), KEEP_SIZE, 2**62, 2**62))
case("fallocate: EBADF for the descriptor of a directory", [D("d")], ok("open", "d", os.O_RDONLY, fd="d"),
     no("EBADF", "fallocate", Fd("d"), 0, 0, 5))
case("fallocate: what was read before is not shown again", [BLOCKS], OPEN, see(Fd("f"), data=block("ABCD")),
     ok("fallocate", Fd("f"), PUNCH_HOLE | KEEP_SIZE, 0, 4096), see(Fd("f"), data=block(".BCD")),
     see("f", data=block(".BCD")))
case("fallocate: the kernel's FUSE knows no COLLAPSE_RANGE and INSERT_RANGE", [BLOCKS], OPEN,
     [no("EOPNOTSUPP", "fallocate", Fd("f"), mode, 4096, 4096) for mode in (COLLAPSE_RANGE, INSERT_RANGE)],
     caveat=True)
