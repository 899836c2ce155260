#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tmux with a shell in one window and vim in another: clients come and go between checkpoints, what was typed before one
is there after it, the shell's jobs and vim's undo too."""
import os

import job


def main():
    j = job.Job("tmux", needs=["tmux", "vim"], daemon=True)
    j.write("edited", "first\n")
    j.env["TERM"] = "xterm"
    j.env["PS1"] = "$ "
    # Without it tmux takes the shell of the password file, which lets nobody in.
    j.env["SHELL"] = "/bin/sh"
    j.launch("tmux", "-S", "sock", "-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", "bash --norc -i")

    def tmux(*args):
        return j.run("tmux", "-S", "sock", *args)

    def type_in(window, text):
        r = tmux("send-keys", "-t", window, "-l", text)
        j.check("send-keys", r.returncode == 0, r.stdout)

    def see(window, text):
        j.until(f"'{text}' in window {window}", lambda: text in tmux("capture-pane", "-p", "-J", "-t", window).stdout, alive=False)
    j.until("the server", lambda: tmux("list-windows").returncode == 0, alive=False)
    tmux("new-window", "-d", "vim -u NONE -n -c 'set nocompatible' edited")
    see(":1", "first")
    type_in(":0", "n=0; trap 'echo trap$((n+100))' USR1; sleep 1000 & echo pid$!\r")
    see(":0", "pid")
    type_in(":1", "o")
    steps = [0]

    def between():
        steps[0] += 1
        type_in(":0", "n=$((n+1)); echo count$((n*1000)); stty size; jobs\r")
        see(":0", f"count{steps[0] * 1000}\n")
        see(":0", "Running")
        type_in(":1", f"line {steps[0]}\r")
        see(":1", f"line {steps[0]}")
    between()
    j.rounds(between)
    type_in(":0", "kill -USR1 $$\r")
    see(":0", f"trap{steps[0] + 100}")
    height = tmux("display-message", "-p", "-t", ":0", "#{pane_height}").stdout.strip()
    see(":0", f"{height} 100")
    type_in(":0", "kill %1; wait; exit\r")
    type_in(":1", "the end\x1b:w\r:q\r")
    j.until("the end of the server", lambda: not j.running(), alive=False)
    lines = open(os.path.join(j.work, "edited"), encoding="utf-8").read().split("\n")
    j.check("what vim wrote", lines == ["first"] + [f"line {n + 1}" for n in range(steps[0])] + ["the end", ""], lines)
    j.done()


main()
