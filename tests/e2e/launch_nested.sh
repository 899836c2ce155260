#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# launch_nested.sh - a process belongs to one job: ckpt_launch in a job is refused before anything runs, in a
# restored one, too; a job may ask ckpt_command; and an environment that was carried out of a job,
# as batch systems do, makes nobody part of it.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
launch=$bin/ckpt_launch command=$bin/ckpt_command
place nested
job=nested.$tag front=
cd "$dir" || exit 1
quiet() { "$@" >/dev/null; }
refused() { # STATUS ERR
	[ "$1" = 125 ] && grep -q "run by job $job already.*without ckpt_launch.*E-EXISTS" "$2" && [ ! -e ran ]
}

for how in "'$launch'" "env -i '$launch'" "sh -c 'exec $launch \"\$@\"' x" "setsid -w '$launch' --name=other"; do
	"$launch" -n "$job" sh -c "$how touch ran" 2>nested.err
	check "refused: ${how//"$bin/"/}" refused $? nested.err
done

# The job asks how it is, goes on, is restored, and is as much a job as before.
cat >program <<END
'$command' --status '$job' >self.out 2>self.err || exit 9
: >one
until [ -e go ]; do sleep 0.05; done
'$launch' touch ran 2>again.err; echo \$? >again
'$command' --status '$job' >>self.out 2>>self.err || exit 8
exit 7
END
"$launch" -n "$job" sh program >out.err 2>&1 </dev/null & front=$!
check "a job that asks ckpt_command goes on" there one $front
"$command" --checkpoint "$job" >/dev/null 2>cp.err
wait $front
: >go
"$bin/ckpt_restart" "$job" >restart.err 2>&1 </dev/null
check "and ends with its own status when restored" [ $? = 7 ]
check "refused in a restored job" refused "$(cat again)" again.err
check "it was told of itself" [ "$(grep -c "^$job .*running" self.out)" = 2 ]

# It asks for a checkpoint of itself: the answer comes, and when it is restored from there it has been given.
rm -f again one
cat >program <<END
'$command' --checkpoint --leave-running --id=self '$job' >self.out 2>self.err || exit 9
echo past >>past
: >one
until [ -e go2 ]; do sleep 0.05; done
exit 7
END
"$launch" -n "$job" sh program >out.err 2>&1 </dev/null & front=$!
check "a job that asks for its own checkpoint goes on" there one $front
check "and is told where it is" grep -qx "$CKPT_DIR/$job/self" self.out
{ "$command" --kill "$job" && wait $front; } 2>/dev/null
front=
: >go2
timeout 60 "$bin/ckpt_restart" "$job/self" >restart.err 2>&1 </dev/null
check "restored from it, it goes on behind that" [ "$?/$(wc -l <past)" = 7/2 ]
# What it asked ckpt_command in that instant is asked again.
cat >program <<END
until [ -e go3 ]; do '$command' --status '$job' >self.out 2>self.err || { cp self.err bad.err; exit 9; }; : >one; done
exit 7
END
rm -f one
"$launch" -n "$job" sh program >out.err 2>&1 </dev/null & front=$!
check "a job that looks at itself all the time" there one $front
for n in 1 2 3 4 5 6 7 8; do
	check "is saved $n" quiet timeout 60 "$command" --checkpoint --leave-running --id="look$n" "$job" 2>cp.err
done
{ "$command" --kill "$job" && wait $front; } 2>/dev/null
front=
: >go3
for n in 1 2 3 4 5 6 7 8; do
	timeout 60 "$bin/ckpt_restart" "$job/look$n" >restart.err 2>&1 </dev/null
	check "and restored" [ $? = 7 ]
done


# What a batch system makes of it: the environment of a job, far from it.
for gone in /run/ckpt/none "$dir/none"; do
	rm -f go one
	LD_PRELOAD=$bin/libckpt.so CKPT_JOB_DIR=$gone "$launch" -n "$job" \
		sh -c ': >one; until [ -e go ]; do sleep 0.05; done; exit 6' >out.err 2>&1 </dev/null & front=$!
	check "the environment alone does no harm" there one $front
	check "such a job is checkpointed" quiet timeout 20 "$command" --checkpoint --leave-running "$job" 2>cp.err
	: >go
	wait $front
	check "and ends as it will" [ $? = 6 ]
	front=
done
exit $bad
