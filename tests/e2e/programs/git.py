#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""git: commits, branches, merges, repacking, clones and fetches with their pipes and helper processes. In the end fsck
finds nothing wrong, and history and content are those that the loop has counted."""
import job

SCRIPT = r'''
set -eu
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@a GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@a GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_DATE='2020-01-01 00:00 +0000' GIT_COMMITTER_DATE='2020-01-01 00:00 +0000'
git init -q -b main r; cd r; git config gc.autoDetach false
echo ready
n=0
while [ ! -e ../stop ]; do
	n=$((n+1)); [ $n = 1 ] && seq 500 >file
	git checkout -q -B side
	for k in 1 2 3; do echo "$n $k" >>log; seq $n $((n+2000)) >data.$((n % 7)); git add -A; git commit -q -m "$n.$k"; done
	git checkout -q - 2>/dev/null || git checkout -q -B main
	git checkout -q -B main side
	git checkout -q -B other; sed -i "1s/.*/first $n/" file; git commit -qam "other $n"
	git checkout -q main; sed -i "\$s/.*/last $n/" file; git commit -qam "main $n"
	git merge -q -m "merge $n" other
	[ "$(git log --oneline | wc -l)" = $((6 * n)) ]
	[ "$(sed -n '1p;$p' file)" = "first $n"$'\n'"last $n" ]
	case $((n % 4)) in
	0) git repack -q -a -d -f --threads=4 ;;
	1) rm -rf ../clone; git clone -q --no-local . ../clone; git -C ../clone fsck --full --strict --no-progress ;;
	2) git -C ../clone pull -q --no-rebase; cmp file ../clone/file ;;
	3) git gc -q --prune=now; git archive HEAD | tar t | sort | head -1 >/dev/null; git grep -c "$n" >/dev/null ;;
	esac
done
git fsck --full --strict --no-progress
[ "$(wc -l <log)" = $((3 * n)) ] && git diff --quiet && git status --porcelain | { ! grep .; }
echo right $n
'''


def main():
    j = job.Job("git", needs=["git"])
    j.launch("bash", j.write("loop.sh", SCRIPT))
    j.counts()
    j.check("no complaints", "fatal" not in j.said() and "error" not in j.said())
    j.done()


main()
