# SPDX-License-Identifier: Apache-2.0
"""terminal.py - what comes out of a pipe or a terminal, waited for; and programs on a terminal of their own."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time

from harness import LIMIT, check, end, until


def set_size(fd, rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class Reader:
    """A descriptor, and the @text that has come out of it."""
    def __init__(self, fd):
        self.fd, self.text, self.over = fd, b"", False

    def more(self, seconds):
        """Take what comes next. False: nothing did within that time, or it is @over (a terminal's other side, too)."""
        if self.over or not select.select([self.fd], [], [], max(0, seconds))[0]:
            return False
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            data = b""
        self.text += data
        self.over = not data
        return not self.over

    def until(self, pattern, seconds=LIMIT):
        """Wait for it; the match, or None."""
        pattern = pattern.encode() if isinstance(pattern, str) else pattern
        last = time.monotonic() + seconds
        while not (found := re.search(pattern, self.text)) and self.more(last - time.monotonic()):
            pass
        return found

    def rest(self, seconds=LIMIT):
        """All up to its end, or what has come by then."""
        last = time.monotonic() + seconds
        while self.more(last - time.monotonic()):
            pass
        return self.text


class Terminal(Reader):
    """A program on a terminal of its own, whose session it leads."""
    def __init__(self, *argv, rows=33, columns=99, **env):
        self.pid, fd = pty.fork()
        if self.pid == 0:
            set_size(0, rows, columns)
            os.execvpe(argv[0], argv, dict(os.environ, **env))
        super().__init__(fd)

    def type(self, text):
        os.write(self.fd, text.encode())

    def expect(self, what, pattern):
        """Everything up to @pattern is forgotten; the match. If it does not come, that is the end of the test."""
        found = self.until(pattern)
        check(what, found, "want", pattern, "have", self.text)
        if not found:
            end()
        self.text = self.text[found.end():]
        return found

    def resize(self, rows, columns):
        set_size(self.fd, rows, columns)

    def goes_raw(self):
        return until(lambda: not termios.tcgetattr(self.fd)[3] & termios.ICANON)

    def ended(self):
        """Wait for the program's end; exit status, as a shell has it. One that does not end is killed."""
        last = time.monotonic() + LIMIT
        while time.monotonic() < last:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.fd)
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
            if not self.more(0.05):     # else what it says at last might hold it up
                time.sleep(0.01)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)
        return None
