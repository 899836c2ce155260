#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""container_terminal.py ENGINE [OPTION]... IMAGE

For containers.sh: python at its prompt on the terminal of a container, saved and continued in a container with a
terminal of another size, in one without, and in one with a terminal again. ENGINE: docker, podman.
OPTION: of ENGINE run; /c is the place for checkpoints.
"""
import os
import pty
import re
import subprocess
import sys

from harness import LIMIT, until
from terminal import Reader, set_size

ENGINE, OPTIONS = sys.argv[1].split(), sys.argv[2:]
# Of the prompt's line editing only what it shows matters.
NOISE = re.compile(rb"\x1b\[[?0-9;]*[a-zA-Z]|\x1b[=>]|\r")


def fail(text):
    print("FAIL " + text)
    sys.exit(1)


class Container(Reader):
    """One container with COMMAND in it; terminal: (lines, columns), or None for pipes."""

    number = 0

    def __init__(self, terminal, *command):
        Container.number += 1
        self.name = f"ckpt-terminal-{os.getpid()}-{Container.number}"
        args = ENGINE + ["run", "-i"] + (["-t"] if terminal else []) + ["--name", self.name] + OPTIONS + list(command)
        if terminal:
            self.pid, fd = pty.fork()
            if self.pid == 0:
                set_size(0, *terminal)
                os.execvp(args[0], args)
            self.to = fd
        else:
            self.child = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            self.pid, fd, self.to = self.child.pid, self.child.stdout.fileno(), self.child.stdin.fileno()
        super().__init__(fd)

    def more(self, seconds):
        came = super().more(seconds)
        self.text = NOISE.sub(b"", self.text)
        return came

    def expect(self, pattern):
        """Wait until it has shown that; what came before it is forgotten."""
        found = self.until(pattern) or fail(f"{self.name}: no {pattern} in {self.text}")
        self.text = self.text[found.end():]
        return found

    def type(self, text):
        os.write(self.to, text.encode())

    def ask(self, text, pattern):
        self.type(text + "\n")
        return self.expect(pattern)

    def size(self):
        # In two parts, as what is typed is shown, too.
        found = self.ask("print('si' 'ze', *os.get_terminal_size())", rb"size (\d+) (\d+)\n")
        return int(found[2]), int(found[1])

    def await_size(self, lines, columns):
        if not until(lambda: self.size() == (lines, columns)):
            fail(f"{self.name}: its terminal has {self.size()} and not {lines}, {columns}")

    def end(self, status):
        self.rest()
        _, got = os.waitpid(self.pid, 0)
        if os.waitstatus_to_exitcode(got) != status:
            fail(f"{self.name}: ended with {os.waitstatus_to_exitcode(got)}, not {status}: {self.text}")
        subprocess.run(ENGINE + ["rm", "-f", self.name], stdout=subprocess.DEVNULL, check=True)
        os.close(self.fd)

    def save(self):
        said = subprocess.run(ENGINE + ["exec", self.name, "ckpt_command", "--checkpoint", "cr"], capture_output=True,
                              timeout=LIMIT, check=False)
        if said.returncode:
            fail(f"{self.name}: {said.stderr.decode()}")
        self.end(137)


def restart(terminal):
    return Container(terminal, "ckpt_restart", "--checkpoint-dir=/c", "cr")


c = Container((40, 100), "ckpt_launch", "--name", "cr", "--checkpoint-dir", "/c", "python3", "-q")
c.expect(rb">>> ")
c.ask("import os; x = 40; pid = os.getpid()", rb">>> ")
c.await_size(40, 100)
set_size(c.fd, 50, 120)
c.await_size(50, 120)
c.save()

c = restart((30, 90))
c.ask("print('su' 'm', x + 2, os.getpid() == pid)", rb"sum 42 True")
c.await_size(30, 90)
set_size(c.fd, 35, 95)
c.await_size(35, 95)
# A mistake, and a backspace. ^C is for its line editing, so that has to be there again.
c.ask("print('ed' 'it', x + 3\x7f4)", rb"edit 44\n>>> ")
c.type("\x03")
c.expect(rb"KeyboardInterrupt")
c.save()

c = restart(None)
c.ask("x += 1; print('su' 'm', x + 2, os.isatty(0))", rb"sum 43 False")
c.save()

c = restart((25, 80))
c.ask("print('su' 'm', x + 2, os.getpid() == pid)", rb"sum 43 True")
c.await_size(25, 80)
c.ask("import sys; sys.exit(7)", rb"")
c.end(7)
