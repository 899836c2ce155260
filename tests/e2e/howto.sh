#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# howto.sh [PATTERN] - type what doc/HOWTO.md tells to type: every block there has a name, and here is what must come of
# it. Jobs get names of their own (a test's), times are shorter, /shared is a directory of ours. What needs Slurm, MPI,
# docker or gdb is left out where these are not. PATTERN: only the recipes that match it.
src=$(cd "${srcdir:-$(dirname "$0")/../..}" && pwd)
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
place howto
tried='' skipped='' engine='' daemon=''
export PATH=$bin:$PATH HOME=$dir
unset CKPT_JOB_DIR JOB STEPS
mkdir "$dir/shared" "$dir/build"
cp "$bin"/ckpt_* "$bin/libckpt.so" "$dir/build"
cd "$dir" || exit 1

say() { printf '%s\n' "$*"; }
fail() { say "FAIL $*"; tail -n 15 "$dir"/*.out "$dir"/out "$dir"/err 2>/dev/null; bad=1; }
skip() { say "skip $*"; skipped="$skipped $recipe"; return 1; }
over() { ! ckpt_command --status "$1" >/dev/null 2>&1; }
lines() { [ "$(cat "$1" 2>/dev/null | wc -l)" -ge "$2" ]; }
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

# block NAME: what stands there, with our names; file NAME: as a file that can be executed; it NAME: typed in this shell
block() {
	case " $tried " in *" $1 "*) ;; *) tried="$tried $1" ;; esac
	awk -v name="$1" '$0 == "```" { on = 0 } on { print } $1 == "```sh" && $2 == name { on = 1 }' "$src/doc/HOWTO.md" |
		sed -E "s/\b(sim|ring|worker|web|first|second)\b/\1$tag/g; s/\b8000\b/$port/; s|/shared/|$dir/shared/|g" >"$dir/block-$1"
	[ -s "$dir/block-$1" ] || fail "there is no block $1"
}
file() { block "$1" && cp "$dir/block-$1" "$2" && chmod 755 "$2"; }
it() {
	block "$1"
	# shellcheck source=/dev/null
	. "$dir/block-$1"
}
# in_order FILE: "step 1", "step 2", ... up to the last line, each once: nothing lost, nothing done twice
in_order() { awk '$1 == "step" { n++; if ($2 != n) bad = 1 } END { exit bad || !n }' "$1"; }
kill_jobs() {
	local j
	for j in "${CKPT_DIR:?}"/*/; do ckpt_command --kill "$(basename "$j")" >/dev/null 2>&1; done
	for j in first second sim ring worker web; do ckpt_command --kill "$j$tag" >/dev/null 2>&1; done
	wait
	rm -rf "${CKPT_DIR:?}" out ./*.out
}
finish() {
	trap - EXIT
	no_engine
	kill_jobs
	cd / && rm -rf "$dir"
	exit "${1:-$bad}"
}
exec 2>"$dir/err"	# the shell's own news of jobs that were killed
trap 'finish' EXIT
trap 'finish 1' INT TERM HUP

# ---- the recipes ----

try_slurm() {
	[ "$(id -u)" = 0 ] && command -v slurmctld slurmd unshare ip >/dev/null || { skip "slurm: not here, or not root"; return; }
	file slurm "$dir/job.sbatch"
	cp "sim$tag" slurm-sim
	bash "$here/howto_slurm.sh" "$dir" "$tag" >slurm.log 2>&1
	case $? in
	0) ok "slurm: $(grep -c . "$dir"/slurm-*.out) lines, each once, over $(grep -c 'was checkpointed to' "$dir"/slurm-*.out) requeues" ;;
	77) skip "slurm: $(tail -n 1 slurm.log)" ;;
	*) fail "slurm: $(tail -n 40 slurm.log)" ;;
	esac
}

try_loop() {
	file again again
	block loop
	: >loop.out
	(
		# The limit: ten lines more.
		timeout() {
			local pid n
			n=$(cat loop.out | wc -l)
			STEPS=25 "$3" >>loop.out & pid=$!
			until lines loop.out $((n + 10)) || ! kill -0 $pid; do sleep 0.1; done
			kill -TERM $pid
			wait $pid
		}
		it loop
	)
	{ in_order loop.out && [ "$(tail -n 1 loop.out)" = done ] && [ -e "$CKPT_DIR/sim$tag/2/checkpoint.img" ]; } &&
		ok "again, in a loop: each line once" || fail "again, in a loop"
	# A checkpoint that cannot go on here is no reason to begin anew.
	rm "$CKPT_DIR/sim$tag"/*/[0-9]*.img
	./again >again.out 2>&1
	[ $? = 1 ] && grep -q E-CORRUPT again.out && ok "again: does not begin anew" || fail "again, damaged"
}

three() { [ "$(ckpt_command --ls "sim$tag" | grep -c yes)" -ge 3 ]; }
try_rewind() {
	block interval
	sed -i 's/=10m/=1s/' block-interval
	. ./block-interval
	within 60 three || fail "interval: $(ckpt_command --ls "sim$tag")"
	block rewind
	# shellcheck source=/dev/null
	(. ./block-rewind) >rewind.out 2>&1 &
	within 60 grep -q 'before' rewind.out || fail "rewind: no checkpoint"
	within 60 grep -q 'COMPLETE' rewind.out
	within 60 is_running "sim$tag"
	n=$(cat out | wc -l)
	within 60 lines out $((n + 5)) && in_order out && ok "interval, rewind: the file went back, too" || fail "rewind"
	[ "$(ckpt_command --ls "sim$tag" | grep -c -v -w -e before -e JOB)" -le 3 ] || fail "keep: $(ckpt_command --ls "sim$tag")"
}

try_mpi() {
	local cc
	for cc in mpicc.mpich mpicc.openmpi; do
		command -v $cc >/dev/null && command -v mpirun.${cc#*.} >/dev/null || { skip "mpi: no $cc"; continue; }
		cat >ring.c <<-'END'
			#include <mpi.h>
			#include <stdio.h>
			#include <unistd.h>
			int main(int argc, char **argv)
			{
				int me, np, n = 0;
				MPI_Init(&argc, &argv); MPI_Comm_rank(MPI_COMM_WORLD, &me); MPI_Comm_size(MPI_COMM_WORLD, &np);
				for (;;) {
					if (!me) { n++; MPI_Send(&n, 1, MPI_INT, 1 % np, 0, MPI_COMM_WORLD); }
					MPI_Recv(&n, 1, MPI_INT, (me + np - 1) % np, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
					if (me) MPI_Send(&n, 1, MPI_INT, (me + 1) % np, 0, MPI_COMM_WORLD);
					else { printf("step %d\n", n); fflush(stdout); usleep(50000); }
				}
			}
		END
		$cc -o "ring$tag" ring.c || { skip "mpi: $cc does not work"; continue; }
		mpirun() { "mpirun.${cc#*.}" "$@"; }
		printf '#!/bin/sh\nexec mpirun.%s "$@"\n' "${cc#*.}" >mpirun
		chmod 755 mpirun
		PATH=$dir:$PATH
		export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1
		it mpi
		within 60 lines "ring$tag.out" 5 || { fail "$cc: no output"; continue; }
		it mpi-again >/dev/null
		n=$(cat "ring$tag.out" | wc -l)
		within 60 lines "ring$tag.out" $((n + 5)) && in_order "ring$tag.out" && ok "mpi: ${cc#*.}" || fail "mpi: $cc"
		kill_jobs
	done
}

# An image with a shell, sleep and our program in it.
try_import() {
	local p lib
	image "$dir/root"
	mkdir -p "$dir/root/usr/bin"
	ln -sfn usr/bin "$dir/root/bin"
	cp -L /bin/sh /bin/sleep "$dir/root/usr/bin"
	cp "sim$tag" "$dir/root/usr/bin"
	for p in /bin/sh /bin/sleep "$bin/ckpt_launch" "$bin/ckpt_coordinator" "$bin/libckpt.so"; do
		for lib in $(ldd "$p" | grep -o '/[^ ]*'); do
			mkdir -p "$dir/root${lib%/*}"
			[ -e "$dir/root$lib" ] || cp -L "$lib" "$dir/root$lib"
		done
	done
	tar -C "$dir/root" -c . | docker_ import - my-image >/dev/null && docker run --rm my-image sleep 0 ||
		skip "$engine: $(tail -n 1 "$dir/err")"
}
# What is typed as docker's is each engine's.
docker_() { if [ $engine = podman ]; then podman_ "$@"; else command docker "$@"; fi; }
docker() {
	local word=$1
	shift
	case $word in
	run) docker_ run --network none --cgroup-parent="/$tag" "$@" ;;	# the test's engines have no bridge
	*) docker_ "$word" "$@" ;;
	esac
}
logs() { docker_ logs "$1" 2>/dev/null; }
logged() { [ "$(logs "$1" | grep -c step)" -ge "$2" ]; }
is_status() { [ "$(docker_ inspect -f '{{.State.Status}} {{.State.ExitCode}}' "$1")" = "$2" ]; }
try_docker() {
	[ "$(id -u)" = 0 ] || { skip "docker, podman: not root"; return; }
	# shellcheck source=tests/e2e/engines.sh
	. "$here/engines.sh"
	eval "$try_import_ours"
	for engine in docker podman; do
		${engine}_ready && try_engine
		no_engine
	done
}
try_engine() {
	local n
	file again again
	it docker >/dev/null || fail "$engine: cannot run"
	within 60 logged one 5 || fail "$engine: no output"
	it docker-again >/dev/null || fail "$engine-again"
	within 60 is_status one 'exited 137' || fail "$engine: one has not ended"
	within 60 logged two 5 || fail "$engine: two does not go on: $(docker_ logs two 2>&1 | tail -n 5)"
	{ logs one; logs two; } >docker.out
	in_order docker.out && ok "$engine: goes on in a new container" || fail "$engine"
	docker_ rm -f two >/dev/null
	it docker-stop >/dev/null
	within 60 logged three 5 || fail "$engine-stop: no output: $(docker_ logs three 2>&1 | tail -n 5)"
	for n in 1 2; do
		it docker-start >/dev/null || fail "$engine-start"
		n=$(logs three | grep -c step)
		within 60 logged three $((n + 5)) || fail "$engine-start: does not go on: $(docker_ logs three 2>&1 | tail -n 5)"
	done
	docker_ stop -t 60 three >/dev/null
	is_status three 'exited 85' || fail "$engine-stop: status $(docker_ inspect -f '{{.State.Status}} {{.State.ExitCode}}' three)"
	logs three >docker.out
	in_order docker.out && ok "$engine: stop is save, start is go on" || fail "$engine-stop"
}
no_engine() {
	[ -n "$engine" ] || return 0
	${engine}_end
	engine='' daemon=''
	grep -oE " $dir[^ ]*" /proc/self/mounts | sort -r | xargs -r -n 1 umount -l
	find /sys/fs/cgroup -depth -name "$tag*" -type d -exec find {} -depth -type d -delete \;
}
try_import_ours=$(declare -f try_import)

try_warm() {
	file worker "worker$tag"
	(it warm) >warm.log 2>&1
	block warm
	[ "$(cut -d' ' -f1 "first$tag.out") $(cut -d' ' -f1 "second$tag.out")" = "9 16" ] &&
		cmp -s <(cut -d' ' -f2- "first$tag.out") <(cut -d' ' -f2- "second$tag.out") &&
		ok "warm: two clones answer" || fail "warm: $(cat warm.log)"
}

asked() { python3 -c "import urllib.request as u; u.urlopen('http://127.0.0.1:$port/', timeout=10).read()" 2>/dev/null; }
try_server() {
	it server
	within 60 asked || fail "server: does not answer"
	it server-again >server.out
	within 60 asked && ok "server: answers again" || fail "server-again"
}

try_inspect() {
	ckpt_launch --name="sim$tag" ./"sim$tag" >out &
	within 60 lines out 3
	ckpt_command --checkpoint --id=hung "sim$tag" >/dev/null || fail "inspect: no checkpoint"
	(set -e; it inspect) >inspect.out 2>&1 || fail "inspect: status $?"
	block inspect
	grep -q "sim$tag" inspect.out && grep -q '#0' inspect.out && [ -s hung.html ] && ls cores/core.* >/dev/null &&
		ok "inspect" || fail "inspect"
	command -v gdb >/dev/null || { block gdb; skip "gdb: not installed"; return; }
	block gdb
	# One core: the shell's, not that of the sleep it may have been waiting for.
	for core in cores/core.*; do
		grep -q -a "sim$tag" "$core" && sed "s|cores/core.\*|$core|" block-gdb >gdb.sh && . ./gdb.sh >gdb.out 2>&1
	done
	grep -q '#0 ' gdb.out && grep -q '^rip ' gdb.out && ok "gdb" || fail "gdb"
}

try_move() {
	local p lib
	ckpt_launch --name="sim$tag" ./"sim$tag" >out &
	within 60 lines out 3
	it move >move.out || fail "move"
	grep -q 'can be restored here' move.out || fail "move: --check"
	n=$(cat out | wc -l)
	within 60 lines out $((n + 5)) && in_order out && ok "move" || fail "move: does not go on"
	ckpt_command --kill "sim$tag" && within 60 over "sim$tag"
	# Another root directory, where that output is not.
	for p in /bin/sh /bin/sleep "$bin/libckpt.so"; do
		for lib in $(ldd "$p" | grep -o '/[^ ]*') "$([ "$p" = "$bin/libckpt.so" ] && echo "$p")"; do
			[ -z "$lib" ] || { mkdir -p "$dir/shared/root${lib%/*}" && cp -L "$lib" "$dir/shared/root$lib"; }
		done
	done
	mkdir -p "$dir/shared/root"/{bin,usr/bin,proc,dev,sys,tmp} "$dir/shared/root$dir"
	cp -L /bin/sh /bin/sleep "$dir/shared/root/bin"
	cp -L /bin/sleep "$dir/shared/root/usr/bin"
	cp "sim$tag" "$dir/shared/root$dir"
	it rootfs >rootfs.out
	within 60 lines rootfs.out 5 && ok "rootfs" || fail "rootfs"
}

file sim "sim$tag"
for recipe in slurm loop rewind mpi docker warm server inspect move; do
	# shellcheck disable=SC2254
	case $recipe in ${1:-*}) try_$recipe; kill_jobs ;; esac
done
# Each block belongs to one of them.
if [ $# = 0 ] && [ -z "$skipped" ]; then
	for name in $(sed -n 's/^```sh *//p' "$src/doc/HOWTO.md"); do
		case " $tried " in *" $name "*) ;; *) fail "the block $name was not tried" ;; esac
	done
fi
grep -q '^```sh$' "$src/doc/HOWTO.md" && fail "a block of doc/HOWTO.md has no name"
finish
