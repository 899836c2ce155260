#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# command_errors.sh - whatever goes wrong with a checkpoint: the exit status and the words are those
# promised, the job runs on, nothing is left behind, and the same try can be made again.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
place command
job=cmd.$tag
launch= mounted=
cd "$dir" || exit 1
leaving() {
	[ -z "$mounted" ] || umount "$dir/full"
	rm -rf "$(run_dir_of "$job")"	# of the coordinator that was killed
	rmdir "$(dirname "$(run_dir_of "$job")")" 2>/dev/null
}

# ck STATUS PATTERN ARG...: of ckpt_command
ck() { expect "$1" "$2" "$bin/ckpt_command" "${@:3}"; }
until_true() { within 10 "$@" || fail "never true: $*"; }
counts() { local a b; a=$(cat count 2>/dev/null); sleep 0.2; b=$(cat count 2>/dev/null); [ "$a" != "$b" ]; }
runs_on() { counts || sleep 0.5; counts || fail "the job does not run on after: $1"; }
nothing_left() {
	[ -z "$(ls -A "$CKPT_DIR/$job" 2>/dev/null)" ] || fail "left behind by $1: $(ls -A "$CKPT_DIR/$job")"
}
# start BYTES: a job that counts, and holds so many bytes that no codec makes much smaller
start() {
	"$bin/ckpt_launch" --name="$job" bash -c 'x=$(head -c '"$1"' /dev/urandom | base64 -w0)
		echo $$ >pid; while :; do echo $((++i)) >count.new; mv count.new count; sleep 0.02; done' \
		>/dev/null 2>launch.err </dev/null &
	launch=$!
	until_true test -s count
}
round_pid() { pgrep -P "$coordinator" ckpt_coord | head -1; }
has_round() { [ -n "$(round_pid)" ]; }
# ---- without any job ----
ck 2 'what is to be done'
ck 2 'one action' --ls --rm
ck 2 'unrecognized|invalid' --explode
ck 2 'time' --interval=often "$job"
ck 2 'true or false' --checkpoint --leave-running=perhaps "$job"
ck 2 'letters' --checkpoint --id=a/b "$job"
ck 2 'codec|zstd' --checkpoint --compression=rar "$job"
ck 2 'image-path' --checkpoint --image-path=/x --id=1 "$job"
ck 2 'create' checkpoint make a b
ck 2 'JOB ID' checkpoint create a
ck 2 'JOB/ID' --rm "$job"
for action in --checkpoint --wait --kill --interval=1h --status; do ck 3 E-NO-JOB $action "$job"; done
ck 3 E-NO-CHECKPOINT --rm "$job/1"
ck 3 E-NO-JOB --ls "$job"
ck 3 E-NO-CHECKPOINT --ls --checkpoint-dir="$dir/nowhere"
ck 0 '' --help
ck 0 '' --version
mkdir empty
ck 0 '' --ls --json --checkpoint-dir=empty
[ "$(cat out)" = '[]' ] || fail "an empty list is not []"

# ---- names in use ----
start 1
ck 0 '' --checkpoint --leave-running --id=one "$job"
[ "$(cat out)" = "$CKPT_DIR/$job/one" ] || fail "printed $(cat out)"
ck 1 "checkpoint with name one already exists for job $job" --checkpoint --leave-running --id=one "$job"
ck 1 "checkpoint with name one already exists for job $job" checkpoint create --leave-running "$job" one
runs_on "a name in use"
mkdir mine && echo precious >mine/file
ck 1 'mine exists and is not an empty directory' --checkpoint --leave-running --image-path=mine "$job"
[ "$(ls -A mine)" = file ] || fail "the directory of somebody else was touched"
ck 0 '' --checkpoint --leave-running --image-path=made/with/parents "$job"
[ -e made/with/parents/checkpoint.img ] || fail "no checkpoint at --image-path"
ck 0 '' checkpoint create --leave-running --checkpoint-dir="$dir/d" "$job" two
[ "$(cat out)" = two ] || fail "checkpoint create printed $(cat out)"
ck 0 '' checkpoint ls --checkpoint-dir "$dir/d" "$job"
[ "$(awk '{print $1}' out | tr '\n' ' ')" = "NAME two " ] || fail "checkpoint ls printed $(cat out)"
ck 3 E-NO-CHECKPOINT checkpoint rm --checkpoint-dir="$dir" "$job" mine
ck 3 E-NO-CHECKPOINT checkpoint rm --checkpoint-dir="$dir/d" someone two
ck 0 '' checkpoint rm --checkpoint-dir="$dir/d" "$job" two
ck 3 E-NO-CHECKPOINT --rm "$job/one" "$job/three"
[ -e "$CKPT_DIR/$job/one" ] || fail "--rm removed one of two that do not both exist"
ck 0 '' --rm "$job/one"
nothing_left "--rm"

# ---- nowhere to write to ----
echo >plain
ck 1 'plain' --checkpoint --leave-running --checkpoint-dir="$dir/plain/below" "$job"
runs_on "a directory that cannot be made"
mkdir full
if [ "$(id -u)" = 0 ] && mount -t tmpfs -o size=200k none full 2>/dev/null; then
	mounted=1
	ck 1 E-SPACE --checkpoint --leave-running --image-path=full/a/b "$job"
	[ -z "$(ls -A full)" ] || fail "left on the full disk: $(ls -A full)"
	ck 1 E-SPACE --checkpoint --image-path=full/a/b "$job"
	runs_on "a full disk"
fi

ck 0 '' --kill "$job"
wait "$launch"

# ---- a round that takes long: much memory, and a slow codec ----
slow=--compression=zstd:19
rm -f count
start 40000000
coordinator=$("$bin/ckpt_command" --status --json "$job" | sed -n 's/.*"coordinator_pid": \([0-9]*\).*/\1/p')
pid=$(cat pid)
ck 1 E-TIMEOUT --checkpoint $slow --timeout=100ms "$job"
nothing_left "a try that ran out of time"
runs_on "a try that ran out of time"

"$bin/ckpt_command" --checkpoint $slow "$job" >first.out 2>first.err & first=$!
until_true has_round
ck 1 E-BUSY --checkpoint "$job"
kill -9 "$(round_pid)"
wait $first && fail "a checkpoint whose process was killed is reported done"
grep -q E-FAILED first.err || fail "killed round: $(cat first.err)"
nothing_left "a round that was killed"
runs_on "the death of the round"

"$bin/ckpt_command" --checkpoint --compression=zstd:6 --leave-running --id=kept "$job" >/dev/null 2>&1 & first=$!
until_true has_round
kill -9 $first
until_true test -e "$CKPT_DIR/$job/kept"
runs_on "the death of ckpt_command"
ck 0 '' --rm "$job/kept"

# the same try again, now that nothing is in its way; and it can be ended
ck 0 '' --checkpoint --leave-running "$job"
ck 0 '' --rm "$job/1"
ck 0 '' --kill "$job"
wait "$launch"; status=$?
[ $status = 137 ] || fail "--kill: the launcher ended with $status"
ended "$pid" || fail "--kill left process $pid"
launch=
ck 3 E-NO-JOB --status "$job"

# ---- the coordinator dies in the midst ----
rm -f count
start 40000000
coordinator=$("$bin/ckpt_command" --status --json "$job" | sed -n 's/.*"coordinator_pid": \([0-9]*\).*/\1/p')
pid=$(cat pid)
"$bin/ckpt_command" --checkpoint $slow "$job" >/dev/null 2>&1 & first=$!
until_true has_round
round=$(round_pid)
kill -9 "$coordinator"
wait $first && fail "reported done without a coordinator"
until_true ended "$round"
nothing_left "a coordinator that was killed"
runs_on "the death of the coordinator"
ck 3 'no coordinator' --checkpoint "$job"
ck 0 'no coordinator' --status
grep -Eq "^$job +no coordinator" out || fail "--status does not show the lost job"
kill -9 "$pid"
wait "$launch"
launch=
# Its launcher has tidied up. When that is killed, too, nobody has.
rm -f count
start 10
coordinator=$("$bin/ckpt_command" --status --json "$job" | sed -n 's/.*"coordinator_pid": \([0-9]*\).*/\1/p')
pid=$(cat pid) keeper=$(ps -o ppid= -p "$pid" | tr -d " ")
disown "$launch"
kill -9 "$launch" "$coordinator" "$keeper"
for one in "$launch" "$coordinator" "$keeper"; do until_true ended "$one"; done
ck 0 'no coordinator' --status
kill -9 "$pid"
not_shown() { ! "$bin/ckpt_command" --status 2>/dev/null | grep -q "^$job "; }
until_true not_shown
launch=
exit "$bad"
