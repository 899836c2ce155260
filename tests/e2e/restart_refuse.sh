#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# restart_refuse.sh - what ckpt_restart refuses, with which reason, all reasons at once, and that nothing
# is left of a try; and the options that help: --bind, --stdout, --fd, --namespaces, --name, --rootfs.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
place refuse
job=refuse.$tag
cd / || exit 1

# restart STATUS PATTERN OPTION...
restart() { expect "$1" "$2" "$bin/ckpt_restart" "${@:3}"; }
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
"$bin/ckpt_launch" -q -n "$job" sh "$dir/program" </dev/null >"$dir/first" 2>&1 &
while [ ! -e "$dir/ready" ]; do sleep 0.05; done
"$bin/ckpt_command" --checkpoint --id=one "$job" >"$dir/out" 2>"$dir/err" || { fail "no checkpoint"; exit 1; }
wait

restart 125 E-USAGE
restart 125 E-USAGE --no-such-option
restart 125 E-USAGE --namespaces=pid,moon "$job"
restart 125 E-USAGE --bind=x "$job"
restart 125 'begins with / or' relative/directory/1
restart 125 E-USAGE --fd=x "$job"
restart 125 E-USAGE --name=-x "$job"
restart 125 E-USAGE "$job/one" more
restart 125 E-NO-CHECKPOINT "$job/two"
restart 125 E-NO-CHECKPOINT "$job.none"
restart 125 E-NO-CHECKPOINT --image-path="$dir/none"
restart 125 E-NO-CHECKPOINT --image-path="$dir/work"
restart 0 "" --check "$job"
says "can be restored here" "$dir/out"
for how in "container: " "pids: " "clock: " "memory: read before the program goes on, as there is little"; do says "$how" "$dir/out"; done

restart 143 "" "$job"
says data "$dir/first"
restart 143 "" --checkpoint=one --checkpoint-dir="$CKPT_DIR/$job" "$job"
restart 143 "" --image-path="$CKPT_DIR/$job/one" --stdout="$dir/other"
says data "$dir/other"
echo elsewhere >"$dir/else"
restart 143 "" --fd=5:"$dir/else" --stdout="$dir/other" "$job"
says elsewhere "$dir/other"
restart 125 E-USAGE --fd=9:"$dir/else" "$job"
restart 125 "Is a directory" --stdout="$dir" "$job"

mv "$dir/work" "$dir/moved"
restart 1 E-FILE-MISSING --check "$job"
[ "$(grep -c E-FILE-MISSING "$dir/err")" = 2 ] || fail "not both reasons at once"
restart 125 E-FILE-MISSING "$job"
mkdir "$dir/work"
restart 143 "" --bind="$dir/moved:$dir/work" --stdout="$dir/other" "$job"
rmdir "$dir/work"
mv "$dir/moved" "$dir/work"

# A file that is mapped, and not open.
if command -v python3 >/dev/null; then
	echo bytes >"$dir/mapped"
	cat >"$dir/map.py" <<'END'
import mmap, os, sys, time
fd = os.open(sys.argv[1] + "/mapped", os.O_RDWR)
m = mmap.mmap(fd, 0)
os.closerange(3, 64)		# and its own duplicate
open(sys.argv[1] + "/map.ready", "w").close()
while not os.path.exists(sys.argv[1] + "/map.stop"):
    time.sleep(0.05)
m[0:1] = b"B"
END
	"$bin/ckpt_launch" -q -n "map$job" python3 "$dir/map.py" "$dir" </dev/null >"$dir/map.out" 2>&1 &
	there "$dir/map.ready" $! || fail "$(cat "$dir/map.out")"
	expect 0 any "$bin/ckpt_command" --checkpoint "map$job"
	wait
	mv "$dir/mapped" "$dir/was-mapped"
	restart 1 'mapped, which process .* has mapped, is not there.*E-FILE-MISSING' --check "map$job"
	restart 125 'mapped.*E-FILE-MISSING' "map$job"
	cp "$dir/was-mapped" "$dir/mapped"
	restart 0 "" --check "map$job"
	: >"$dir/map.stop"
	restart 0 "" "map$job"
	says Bytes "$dir/mapped"
fi

# A running job's name, and two at once.
: >"$dir/hold"
timeout 30 "$bin/ckpt_restart" --detach "$job" </dev/null >"$dir/out" 2>"$dir/err" || fail "--detach"
says "^$job\$" "$dir/out"
restart 125 E-EXISTS "$job"
rm "$dir/hold"
restart 143 "" --name="$job.2" --stdout="$dir/other" "$job"

# Damaged images.
cp -r "$CKPT_DIR/$job/one" "$dir/damaged"
image=$(basename "$(ls "$dir"/damaged/[0-9]*.img | head -n 1)")
truncate -s -8 "$dir/damaged/$image"
restart 125 E-CORRUPT --image-path="$dir/damaged" --name="$job.2"
rm "$dir/damaged/$image"
restart 125 E-CORRUPT --image-path="$dir/damaged" --name="$job.2"
restart 1 E-CORRUPT --check --image-path="$dir/damaged"

# All of that has left no process: coordinators end within moments.
within 5 nobody_left || fail "processes are left: $(list_ours)"
exit $bad
