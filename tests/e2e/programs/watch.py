#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Watchers of files: inotifywait -m, tail -F and node's fs.watch beside a loop that makes files and writes lines all the
time. In the end each was told of every file, or has every line, in their order."""
import re
import shutil

import job

SCRIPT = r'''
set -eu
mkdir files; : >lines; : >names; : >seen
ask() { command -v "$1" >/dev/null; }
watchers=() first=0
tail -n +1 -F lines >tailed 2>/dev/null & watchers+=($!)
if ask inotifywait; then inotifywait -q -m -e create --format %f files >>names & watchers+=($!); fi
if ask node; then node -e 'const fs = require("fs"); let all = ""
	fs.watch("files", (type, name) => { fs.appendFileSync("seen", name + "\n") })' & watchers+=($!); fi
# Each is there when it has told of something.
until [ -s tailed ] && { ! ask inotifywait || [ -s names ]; } && { ! ask node || [ -s seen ]; }; do
	first=$((first + 1)); : >"files/first.$first"; echo first >>lines; sleep 0.1
done
echo ready
n=0
until [ -e stop ]; do
	n=$((n + 1)); : >"files/f$n"; echo "line $n" >>lines
	if [ $((n % 200)) = 0 ]; then rm -f files/f*; fi	# and let them come along
	until [ $((n % 1000)) != 0 ] || grep -qx "line $n" tailed; do sleep 0.01; done
done
until grep -qx "line $n" tailed && { ! ask inotifywait || grep -qx "f$n" names; } &&
      { ! ask node || grep -qx "f$n" seen; }; do sleep 0.01; done
kill "${watchers[@]}"
echo right $n
'''


def numbers(j, name, begin):
    with open(j.at(name), encoding="utf-8") as f:
        return [int(x) for x in re.findall(rf"^{begin}(\d+)$", f.read(), re.M)]


def main():
    j = job.Job("watch", needs=["tail"])
    j.launch("bash", j.write("loop.sh", SCRIPT))
    j.counts()
    n = int(j.expect("right").split()[1])
    every = list(range(1, n + 1))
    j.check("tail has every line", numbers(j, "tailed", "line ") == every)
    if shutil.which("inotifywait"):
        j.check("inotifywait was told of every file", numbers(j, "names", "f") == every)
    if shutil.which("node"):
        j.check("node was told of every file", sorted(set(numbers(j, "seen", "f"))) == every)
    j.done()


main()
