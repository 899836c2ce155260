#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# launch_status.sh - ckpt_launch ends as its program does; says what cannot be run, or not be preloaded,
# before anything has run, with the reason.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
launch=$bin/ckpt_launch
cc=${CC:-cc}
place launch
cd "$dir" || exit 1

# The program's own status.
for s in 0 1 7 85 124 125 126 127 200 255; do expect "$s" "" "$launch" sh -c "exit $s"; done
for s in 1 2 9 13 15; do expect $((128 + s)) any bash -c "'$launch' sh -c 'kill -$s \$\$'; exit \$?"; done
# A daemon that stays does not hold us up.
start=$SECONDS
expect 3 "" "$launch" sh -c 'setsid sleep 20 >/dev/null 2>&1 </dev/null & echo $! >pid; exit 3'
[ $((SECONDS - start)) -lt 10 ] || fail "waited for a daemon"
kill "$(cat pid)"
# nor does one that is left with our pipe open hold it longer than natively
expect 0 "" "$launch" sh -c 'sleep 0.2 & echo hello'
[ "$(cat out)" = hello ] || fail "output"

# Our own options.
expect 125 'which program' "$launch"
expect 125 "unknown option '--nonsense'" "$launch" --nonsense true
expect 125 "unknown option '-Z'" "$launch" -Z true
expect 125 'needs a value' "$launch" --name
expect 125 "job's name" "$launch" --name=a/b true
expect 125 "job's name" "$launch" --name=.a true
expect 125 'not a time' "$launch" --interval=often true
expect 125 'number from 1' "$launch" --keep=0 true
expect 125 'must be none, zlib' "$launch" --compress=rar true
expect 125 'must be none, zlib' "$launch" --compress=zstd:99 true
expect 125 'not supported by this version' "$launch" --incremental true
expect 125 'not supported by this version' "$launch" --background=no true
expect 125 'yes or no' "$launch" --background=perhaps true
expect 125 'not supported by this version' "$launch" --signal=USR2 true
expect 125 'not a signal' "$launch" --signal=NONSENSE true
expect 125 "'NONSENSE' is not a signal" "$launch" --checkpoint-on=USR1,NONSENSE true
expect 125 'cannot be waited for' "$launch" --checkpoint-on=KILL true
expect 125 'tcp: is not supported' "$launch" --coordinator=tcp:localhost:1 true
expect 125 'no coordinator listens' "$launch" --coordinator=unix:"$dir/none" true
expect 125 'options of the coordinator' "$launch" --coordinator=unix:"$dir/none" --name=x true
expect 0 "" "$launch" --background=yes --signal=33 --compress=zstd:3 --keep=3 -i 10m -- true
expect 0 "" "$launch" --help
grep -q Usage out || fail "--help"
expect 0 "" "$launch" --version
expect 0 "" "$launch" --version -v
{ grep -q 'clone3 set_tid' out && ! grep ' no ' out | grep -v '; instead: '; } || fail "--version -v"
# What follows the program's name is the program's.
expect 0 "" "$launch" echo -n --name x -- --help
[ "$(cat out)" = "--name x -- --help" ] || fail "the program's options: $(cat out)"
expect 5 "" "$launch" -- sh -c 'exit 5'
"$launch" -n "t$$" sh -c ': >up; sleep 20' &
within 10 is_there up || fail "it does not start"
expect 125 'a job named' "$launch" -n "t$$" true
kill $!; wait $!
for i in 1 2 3; do expect 0 "" "$launch" -n "again$$" true; done

# What is not found, and what cannot be executed.
expect 127 "no such program in PATH" "$launch" no-such-program
expect 127 "no such program in PATH" "$launch" ""
expect 127 "No such file" "$launch" ./nothing
expect 127 "Not a directory" "$launch" /dev/null/x
expect 126 "Permission denied" "$launch" "$dir"
echo 'echo hi' >plain
expect 126 "Permission denied" "$launch" ./plain
chmod 755 plain
expect 0 "" "$launch" ./plain
[ "$(cat out)" = hi ] || fail "a script without #!"
printf '#!/no/such/interpreter\n' >lost; chmod 755 lost
expect 127 "its interpreter is not there" "$launch" ./lost
mkdir a b; cp plain a/prog; printf '#!/bin/sh\nexit 6\n' >b/prog; chmod 644 a/prog; chmod 755 b/prog
expect 6 "" env PATH="$dir/a:$dir/b:$PATH" "$launch" prog
expect 126 "Permission denied" env PATH="$dir/a" "$launch" prog
expect 6 "" bash -c "cd b && PATH=:/nowhere '$launch' prog"

# What cannot be preloaded. Nothing of it may run.
echo 'int puts(const char *); int main(void) { puts("ran"); return 0; }' >prog.c
refused() { # CODE PATTERN COMMAND...
	local code=$1 pattern=$2; shift 2
	expect 126 "$pattern" "$launch" "$@"
	grep -q "cannot be preloaded.*($code)" err || fail "no $code"
	[ ! -s out ] || fail "it ran: $*"
}
if $cc -static -o static prog.c 2>/dev/null; then
	refused E-STATIC 'static .*cannot be preloaded|statically' ./static
	printf '#!%s/static -x\n' "$dir" >s1; printf '#! %s/s1\n' "$dir" >s2; chmod 755 s1 s2
	refused E-STATIC "s1: its interpreter $dir/static is statically" ./s1
	refused E-STATIC "s2: its interpreter $dir/static is statically" ./s2
	ln -s static interp
	for line in '/usr/bin/env interp' '/usr/bin/env -S interp -a' '/usr/bin/env -S A=1 interp'; do
		printf '#!%s\n' "$line" >s3; chmod 755 s3
		expect 126 'statically' env PATH="$dir:$PATH" "$launch" ./s3
	done
else
	echo "skip static: no static libc"
fi
if $cc -static-pie -fPIE -o static-pie prog.c 2>/dev/null; then refused E-STATIC statically ./static-pie; fi
if command -v musl-gcc >/dev/null; then
	musl-gcc -o musl prog.c && refused E-FOREIGN-ELF 'another libc' ./musl
	musl-gcc -static -o musl-static prog.c && refused E-STATIC statically ./musl-static
fi
if $cc -m32 -o prog32 prog.c 2>/dev/null; then refused E-FOREIGN-ELF 'machine|word size' ./prog32; fi
$cc -o good prog.c || exit 1
# The same program, claiming to be for AArch64 (e_machine) or of 32 bits (e_ident[EI_CLASS]).
cp good arm; printf '\267\000' | dd of=arm bs=1 seek=18 conv=notrunc 2>/dev/null
refused E-FOREIGN-ELF 'another machine .AArch64' ./arm
expect 0 "" "$launch" ./good
expect 0 "" "$launch" /lib64/ld-linux-x86-64.so.2 ./good
printf '#!%s/s5\n' "$dir" >s5; chmod 755 s5
expect 126 "more than 5 deep|Too many" "$launch" ./s5

# Set-user-ID: for the user who owns the file it changes nothing, for others ld.so ignores LD_PRELOAD.
cp good suid; chmod 4755 suid
expect 0 "" "$launch" ./suid
cp good sgid; chmod 2755 sgid
expect 0 "" "$launch" ./sgid
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
	user="setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=$dir"
	chmod 777 .
	if $user test -x "$launch" && $user test -r "$(dirname "$launch")/libckpt.so"; then
		chmod 666 out err
		expect 126 'set-user-ID and cannot be preloaded; a copy' $user "$launch" ./suid
		expect 126 'set-group-ID and cannot be preloaded' $user "$launch" ./sgid
		expect 0 "" setpriv --no-new-privs $user "$launch" ./suid
		if command -v setcap >/dev/null && cp good capable && setcap cap_net_raw+ep capable; then
			expect 126 'file capabilities and cannot be preloaded' $user "$launch" ./capable
			expect 0 "" "$launch" ./capable
		fi
	else
		echo "skip other users: they cannot run $launch"
	fi
fi
exit $bad
