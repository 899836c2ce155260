#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# agent_calls.sh - every system call that the library makes while a program is stopped stands in
# common/agent_calls.def, with the first argument where that is a constant. (That the other arguments are right, too,
# tests/e2e/filtered.c tries: its filter lets pass what the table has and nothing else.)
set -eu
: "${srcdir:=.}"
cd "$srcdir"
def=common/agent_calls.def
bad=0

# has CALL [ARGUMENT]: such a line, or one that takes any argument
has() {
	grep -Eq "^X\($1, [A-Z]+, ($2|ANY)[,)]" $def
}

# altstack.c, api.c, clocks.c, exec.c, init.c, look.c, mapped.c, rearm.c and notes_*.c run when the program calls them, as what it does itself. So do parts of others:
wrappers=' notes.c:access notify.c:rt_sigprocmask forked.c:rt_sigprocmask '
for file in preload/*.c; do
	case $file in preload/altstack.c | preload/api.c | preload/clocks.c | preload/exec.c | preload/init.c | preload/look.c | preload/mapped.c | preload/rearm.c | preload/notes_*.c) continue ;; esac
	grep -oE 'SYS0?\([a-z][a-z0-9_]*(, [A-Z][A-Z0-9_]+[,)])?' "$file" | sed 's/SYS0*(//; s/[,)]$//; s/,//' | sort -u |
	while read -r name arg; do
		case $wrappers in *" ${file#preload/}:$name "*) continue ;; esac
		case $arg in
		NULL) arg=0 ;;
		SYS0) arg=ANY ;;
		esac
		[ -z "$arg" ] && grep -q "^X($name, " $def && continue
		[ -n "$arg" ] && has "$name" "$arg" && continue
		echo "$def does not have $name $arg of $file"
		exit 1
	done || bad=1
	# Those that older headers have no name for.
	for name in $(grep -oE 'sys_call\([A-Z][A-Z_]*' "$file" | sed 's/.*(//' | tr 'A-Z' 'a-z'); do
		grep -q "^X($name, " $def || { echo "$def does not have $name of $file"; bad=1; }
	done
done

# rt_sigreturn, clone, exit
numbers=$(sed -n 's/.*mov[[:space:]]*\$\([0-9][0-9]*\), %[re]ax.*/\1/p' preload/park_x86_64.S | sort -n | tr '\n' ' ')
[ "$numbers" = "1 15 56 60 " ] || { echo "preload/park_x86_64.S makes other calls than $def knows of: $numbers"; bad=1; }
exit $bad
