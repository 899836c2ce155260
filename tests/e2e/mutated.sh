#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# mutated.sh [DIR] - checkpoints with damage that no checksum tells (tests/fuzz/mutate): each reader
# comes to an end by itself, with a status of its own and without a signal. With DIR: of that checkpoint.
# $MUTATE_ROUNDS of them for each checkpoint (default 25), beginning with seed $MUTATE_SEED (default 1).
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
programs=${E2E_PROGRAMS:-$bin/tests/e2e} mutate=$bin/tests/fuzz/mutate
[ -x "$mutate" ] || skip "there is no $mutate"
first=${MUTATE_SEED:-1} rounds=${MUTATE_ROUNDS:-25} read=0
place mutated

checkpoint_of() {	# SCENARIO: prints the checkpoint's directory
	local job=mutated.$1.$tag front
	mkdir "$dir/$1"
	(cd "$dir/$1" && exec "$bin/ckpt_launch" -q --name="$job" "$programs/$1" </dev/null >/dev/null 2>&1) &
	front=$!
	there "$dir/$1/ready.1" $front
	"$bin/ckpt_command" --checkpoint --compression=none "$job"
	wait $front 2>/dev/null
}

run() {		# SEED COMMAND...
	local seed=$1 status; shift
	timeout -s KILL 60 "$bin/$@" "$dir/m" >"$dir/said" 2>&1; status=$?
	read=$((read + 1))
	case $status in
	0 | 1 | 2 | 3 | 125) ;;
	*) bad=1; echo "FAIL $*, status $status, seed $seed: $(tr '\n' ';' <"$dir/what")"; tail -n 20 "$dir/said" ;;
	esac
}

try() {		# CHECKPOINT
	local seed verb
	for ((seed = first; seed < first + rounds; seed++)); do
		rm -rf "$dir/m"
		"$mutate" "$1" "$dir/m" $seed >"$dir/what" || { bad=1; return; }
		for verb in show records threads maps files core html verify; do run $seed ckpt_inspect $verb; done
		run $seed ckpt_restart --check --image-path
		rm -f "$dir"/*.core
	done
}

cd "$dir" || exit 1
if [ $# = 1 ]; then
	try "$1"
else
	for scenario in sockets files events tree; do
		[ -x "$programs/$scenario" ] || continue
		image=$(checkpoint_of $scenario)
		if [ -n "$image" ]; then try "$image"; else bad=1; echo "FAIL no checkpoint of $scenario"; fi
	done
fi
echo "$read readings"
[ "$read" -gt 0 ] && [ "$bad" = 0 ]
