#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# restart_refuse.sh - what ckpt_restart refuses, with which reason, all reasons at once, and that nothing
# is left of a try; and the options that help: --bind, --stdout, --fd, --namespaces, --name, --rootfs.
set -u
for fd in /proc/$$/fd/*; do
	fd=${fd##*/}
	if [ "$fd" -gt 2 ] && [ "$fd" != 255 ]; then eval "exec $fd>&-"; fi
done
bin=$(cd "${builddir:-.}" && pwd) || exit 1
restart=$bin/ckpt_restart
[ -x "$restart" ] || { echo "there is no $restart"; exit 77; }
dir=$(mktemp -d "${TMPDIR:-/tmp}/ckpt-refuse.XXXXXX") || exit 1
job=${dir##*/} bad=0
export CKPT_DIR=$dir/store
cleanup() {
	"$bin/ckpt_command" --kill "$job" "$job.2" >/dev/null 2>&1
	cd /; rm -rf "$dir"
}
trap cleanup EXIT
cd / || exit 1

fail() { echo "FAIL $*"; cat "$dir/err"; bad=1; }

# expect STATUS PATTERN OPTION...: the status, and the pattern in stderr ("": nothing in it)
expect() {
	local want=$1 pattern=$2 got; shift 2
	timeout 30 "$restart" "$@" </dev/null >"$dir/said" 2>"$dir/err"; got=$?
	if [ "$got" != "$want" ]; then fail "status $got, not $want: $*"
	elif [ -z "$pattern" ] && [ -s "$dir/err" ]; then fail "said something: $*"
	elif [ -n "$pattern" ] && ! grep -Eq -e "$pattern" "$dir/err"; then fail "does not say '$pattern': $*"
	else echo "ok   $want ${*//"$dir"/DIR}"
	fi
}
says() { grep -q -e "$1" "$2" || fail "no '$1' in $2: $(cat "$2")"; }

# A program with a directory, a file and a way to end; its output is what it read.
mkdir "$dir/work"
echo data >"$dir/work/file"
cat >"$dir/program" <<END
cd '$dir/work' && exec 5<file
: >'$dir/ready'
n=0; while [ \$n -lt 2 ] || [ -e '$dir/hold' ]; do sleep 0.2; n=\$((n + 1)); done
cat <&5
kill -TERM \$\$
END
"$bin/ckpt_launch" -q -n "$job" sh "$dir/program" </dev/null >"$dir/out" 2>&1 &
while [ ! -e "$dir/ready" ]; do sleep 0.05; done
"$bin/ckpt_command" --checkpoint --id=one "$job" >"$dir/said" 2>"$dir/err" || { fail "no checkpoint"; exit 1; }
wait

expect 125 E-USAGE
expect 125 E-USAGE --no-such-option
expect 125 E-USAGE --namespaces=pid,moon "$job"
expect 125 E-USAGE --bind=x "$job"
expect 125 E-USAGE --fd=x "$job"
expect 125 E-USAGE --name=-x "$job"
expect 125 E-USAGE "$job/one" more
expect 125 E-NO-CHECKPOINT "$job/two"
expect 125 E-NO-CHECKPOINT "$job.none"
expect 125 E-NO-CHECKPOINT --image-path="$dir/none"
expect 125 E-NO-CHECKPOINT --image-path="$dir/work"
expect 0 "" --check "$job"
says "can be restored here" "$dir/said"
for how in "container: " "pids: " "clock: " "memory: read before the program goes on, as there is little"; do says "$how" "$dir/said"; done

expect 143 "" "$job"
says data "$dir/out"
expect 143 "" --checkpoint=one --checkpoint-dir="$CKPT_DIR/$job" "$job"
expect 143 "" --image-path="$CKPT_DIR/$job/one" --stdout="$dir/other"
says data "$dir/other"
echo elsewhere >"$dir/else"
expect 143 "" --fd=5:"$dir/else" --stdout="$dir/other" "$job"
says elsewhere "$dir/other"
expect 125 E-USAGE --fd=9:"$dir/else" "$job"
expect 125 "Is a directory" --stdout="$dir" "$job"

mv "$dir/work" "$dir/moved"
expect 1 E-FILE-MISSING --check "$job"
[ "$(grep -c E-FILE-MISSING "$dir/err")" = 2 ] || fail "not both reasons at once"
expect 125 E-FILE-MISSING "$job"
mkdir "$dir/work"
expect 143 "" --bind="$dir/moved:$dir/work" --stdout="$dir/other" "$job"
rmdir "$dir/work"
mv "$dir/moved" "$dir/work"

# A running job's name, and two at once.
: >"$dir/hold"
timeout 30 "$restart" --detach "$job" </dev/null >"$dir/said" 2>"$dir/err" || fail "--detach"
says "^$job\$" "$dir/said"
expect 125 E-EXISTS "$job"
rm "$dir/hold"
expect 143 "" --name="$job.2" --stdout="$dir/other" "$job"

# Damaged images.
cp -r "$CKPT_DIR/$job/one" "$dir/damaged"
image=$(basename "$(ls "$dir"/damaged/[0-9]*.img | head -n 1)")
truncate -s -8 "$dir/damaged/$image"
expect 125 E-CORRUPT --image-path="$dir/damaged" --name="$job.2"
rm "$dir/damaged/$image"
expect 125 E-CORRUPT --image-path="$dir/damaged" --name="$job.2"
expect 1 E-CORRUPT --check --image-path="$dir/damaged"

# All of that has left no process: coordinators end within moments.
left=x n=0
while [ -n "$left" ] && [ "$n" -lt 100 ]; do
	left=$(ps -eo pid,args | grep -F "$job" | grep -v -e grep -e restart_refuse)
	sleep 0.05; n=$((n + 1))
done
[ -z "$left" ] || fail "processes are left: $left"
exit $bad
