# SPDX-License-Identifier: ISC
"""A program on a terminal of its own: what a person would type, and see."""

import os
import pty
import select
import signal
import subprocess
import sys
import time


class Terminal:
    """The program is the leader of a session on a new terminal."""

    def __init__(self, argv, seconds=40):
        self.seen = b""
        self.all = b""
        self.seconds = seconds
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                os.execvp(argv[0], argv)
            finally:
                os._exit(127)

    def _read(self, timeout):
        """Whether there was something; None at the end."""
        if not select.select([self.fd], [], [], timeout)[0]:
            return False
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            data = b""
        self.seen += data
        self.all += data
        return True if data else None

    def _fail(self, what):
        jobs = subprocess.run(
            ["ps", "-o", "pid,ppid,pgid,tpgid,stat,wchan:20,args", "-s", str(self.pid)],
            capture_output=True, text=True, check=False).stdout
        sys.exit(f"{what}; the terminal shows:\n{self.all.decode(errors='replace')}\n{jobs}")

    def expect(self, text):
        """Wait until the text is shown after what was expected before."""
        text = text.encode()
        end = time.monotonic() + self.seconds
        while text not in self.seen:
            if time.monotonic() > end or self._read(0.2) is None and text not in self.seen:
                self._fail(f"no {text!r}")
        self.seen = self.seen.split(text, 1)[1]

    def send(self, text):
        os.write(self.fd, text.encode())

    def wait(self):
        """The exit status, -N after signal N."""
        end = time.monotonic() + self.seconds
        while True:
            self._read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                while self._read(0.05):
                    pass
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > end:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                self._fail("it does not end")


def assert_equal(value, wanted):
    if value != wanted:
        sys.exit(f"{value!r} is not {wanted!r}")
