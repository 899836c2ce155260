#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# gvisor_servers.sh [CASE...] - servers that wait with epoll, in sandboxes of gVisor (runsc): saved in one, continued in
# a second, from there on Linux, and from there in a third. After each step clients connect again and find what
# there was. Needs root and runsc, and for each case its program.
# shellcheck source=tests/e2e/gvisor_lib.sh
. "$(dirname "$0")/gvisor_lib.sh"

# in_box NAME COMMAND...: run it in that sandbox
in_box() {
	local name=$1
	shift
	runsc_ exec -env PATH=/opt/ckpt:/usr/bin:/bin -env XDG_RUNTIME_DIR=/run "$(id_of "$name")" "$@"
}

# On Linux: in a network of its own, whose loopback interface is up, with the test's directory as /mnt. All ends with
# its first process, of which the job's container is a descendant.
linux() {
	PATH=$dir/ckpt:$PATH unshare --pid --fork --kill-child --mount-proc --mount --net bash -c '
		cd / && mount --bind "$1" /mnt && mount -t tmpfs run /run && ip link set lo up || exit 1
		for i in $(seq $2); do /bin/true; done
		shift 2; "$@"' sh "$c" "$ids" "$@" </dev/null >"$dir/linux" 2>&1 &
	front=$!
}
# in_linux COMMAND...: in the same namespaces; the job's own processes are in a container below
in_linux() {
	local first
	first=$(cat "/proc/$front/task/$front/children")
	PATH=$dir/ckpt:$PATH nsenter --target "${first%% *}" --pid --mount --net "$@"
}

# where COMMAND...: run it where the job is, in sandbox $place or on Linux
where() { if [ "$place" = linux ]; then in_linux "$@"; else in_box "$place" "$@"; fi; }

# answers WHAT COMMAND...: its output is WHAT, within twenty seconds
answers() {
	local want=$1 got='' until=$((SECONDS + 20))
	shift
	while [ $SECONDS -lt $until ]; do
		got=$(where "$@" 2>&1) && [ "$got" = "$want" ] && return 0
		sleep 0.1
	done
	fail "$tag: in $place '$*' said '$got' instead of '$want': $(tail -n 5 "$dir/$place")"
}

ids=0		# of processes: used up before the job begins, so that its are free in a sandbox
# launch COMMAND...: the job begins in a sandbox, or with $from on Linux, whose clock is far from that of a sandbox
launch() {
	mkdir -m 777 "$c/$tag"
	if [ -n "$from" ]; then
		place=linux
		ids=320 linux ckpt_launch --name=job --checkpoint-dir="/mnt/$tag" "$@"
		return
	fi
	place=$tag-1
	box "$place" 0 ckpt_launch --name=job --checkpoint-dir="/mnt/$tag" "$@"
}

# move PLACE: save the job where it is, and go on there
move() {
	local said
	if [ "$place" = linux ]; then
		said=$(in_linux ckpt_command --checkpoint job 2>&1) || { fail "$tag: on Linux: $said"; return 1; }
		wait "$front"
		status=$? front=
		[ $status = 137 ] || { fail "$tag: ended with $status on Linux after its checkpoint: $(cat "$dir/linux")"; return 1; }
	else
		save "$place" 0 "$tag" || return
	fi
	place=$1
	if [ "$place" = linux ]; then
		linux ckpt_restart -v --checkpoint-dir="/mnt/$tag" job
	else
		box "$place" 0 ckpt_restart -v --checkpoint-dir="/mnt/$tag" job
	fi
	# Nobody may take a process id in a sandbox before all of the job's are there.
	until_line "$dir/$place" '^ckpt_restart: job job: ' || fail "$tag: does not go on in $place: $(cat "$dir/$place")"
}

# ends STATUS: the job, told to end, does so in the sandbox where it is
ends() {
	in_box "$place" /bin/kill -TERM "$2" || { fail "$tag: no process $2: $(cat "$dir/$place")"; return 1; }
	over "$place"
	[ $status = "$1" ] || fail "$tag: ended with $status in $place: $(tail -n 5 "$dir/$place")"
}

redis() {
	local cli="redis-cli -p 7001" pid
	mkdir -m 777 "$c/redis-data"
	launch "$1" --port 7001 --dir /mnt/redis-data --appendonly yes --save 3600 1
	answers PONG $cli ping || return
	answers OK $cli set text "some text" || return
	answers 1 $cli incr count || return
	pid=$(where $cli info server | tr -d '\r' | sed -n 's/^process_id://p')
	for step in redis-2 linux redis-3; do
		move $step || return
		answers PONG $cli ping || return
		answers "some text" $cli get text || return
		where $cli incr count >/dev/null
	done
	answers 4 $cli get count || return
	answers "$pid" bash -c "$cli info server | tr -d '\r' | sed -n 's/^process_id://p'" || return
	ends 0 "$pid" && ok "redis: $from, a sandbox, Linux, and a sandbox again"
}

# What a page of the server at port 7001 says, by a worker that is of another user than the master and the job's owner.
page() { echo "exec 3<>/dev/tcp/127.0.0.1/7001 && printf 'GET / HTTP/1.0\r\n\r\n' >&3 && timeout 20 tail -n 1 <&3"; }

nginx_() {
	local step pid
	mkdir -m 777 "$c/nginx-data"
	echo "a page" >"$c/nginx-data/index.html"
	cat >"$c/nginx.conf" <<-END
	daemon off; user nobody nogroup; worker_processes 2; pid /mnt/nginx-data/pid; error_log /mnt/nginx-data/log;
	events { worker_connections 50; }
	http {
	    access_log off; client_body_temp_path /mnt/nginx-data/1; proxy_temp_path /mnt/nginx-data/2;
	    fastcgi_temp_path /mnt/nginx-data/3; uwsgi_temp_path /mnt/nginx-data/4; scgi_temp_path /mnt/nginx-data/5;
	    server { listen 127.0.0.1:7001; root /mnt/nginx-data; }
	}
	END
	launch "$1" -c /mnt/nginx.conf
	for step in "" nginx-2 linux nginx-3; do
		[ -z "$step" ] || move "$step" || return
		answers "a page" bash -c "$(page)" || return
	done
	pid=$(cat "$c/nginx-data/pid")
	ends 0 "$pid" && ok "nginx: a sandbox, another, Linux, and a sandbox again"
}

# asked LINE: what the server at port 7001 answers to that line
asked() { echo "exec 3<>/dev/tcp/127.0.0.1/7001 && echo $1 >&3 && read -t 20 -r a <&3 && echo \"\$a\""; }

# A server that answers lines, COMMAND..., in all places. It has what the lines in $lines ask for.
server() {
	local n=1 pid line step
	launch "$@"
	answers 0 bash -c "$(asked zero)" || return
	pid=$(where bash -c "$(asked pid)")
	for step in "" "$tag-2" linux "$tag-3"; do
		[ -z "$step" ] || move "$step" || return
		answers $n bash -c "$(asked count)" || return
		n=$((n + 1))
		for line in $lines; do
			answers "${line/thread/2 threads}" bash -c "$(asked "$line")" || return
		done
	done
	answers "$pid" bash -c "$(asked pid)" || return
	ends 42 "$pid" && ok "$tag: ${from:-a sandbox}, a sandbox, Linux, and a sandbox again"
}

# A scenario of this directory (scn.h), checkpointed in each place where it comes to.
scenario() {
	local name=$1 step steps=0 began
	cp "$bin/tests/e2e/$name" "$dir/ckpt"
	mkdir -m 777 "$c/$tag.home"
	launch /bin/sh -c "cd /mnt/$tag.home && exec $name"
	for _ in $(seq 200); do [ -e "$c/$tag.home/ready.1" ] && break; sleep 0.1; done
	began=$(date +%s%N)
	for step in "$tag-2" linux "$tag-3"; do
		move "$step" || return
		steps=$((steps + 1))
	done
	echo "$steps $((($(date +%s%N) - began) / 1000000))" >"$c/$tag.home/go.1.new" && mv "$c/$tag.home/go.1.new" "$c/$tag.home/go.1"
	over "$place"
	if [ $status = 0 ] && grep -qx PASS "$dir/$place"; then
		ok "$tag: ${from:-a sandbox}, a sandbox, Linux, and a sandbox again"
	else
		fail "$tag: ended with $status: $(tail -n 8 "$dir/$place")"
	fi
}

# run CASE PROGRAM [ARGUMENT]...: if there is that program
run() {
	command -v "${2:-python3 of the system}" >/dev/null || { echo "skip $tag: there is no ${2:-python3}"; return; }
	"$@"
}
cp "$here"/gvisor_asyncio.py "$here"/gvisor_node.js "$c"
python=$(command -v /usr/bin/python3)
from=
for tag in ${*:-watches counters timerfds timerfds-linux signalfds signalfds-linux alarms alarms-linux locks locks-linux redis nginx asyncio node}; do
	case $tag in
	asyncio) from=linux lines="timer inside thread child pair" && run server "$python" /mnt/gvisor_asyncio.py 7001 ;;
	watches | counters | timerfds | signalfds | alarms | locks) scenario "$tag" ;;
	*-linux) from=linux && scenario "${tag%-linux}" ;;
	node) lines="timer inside thread child" && run server node /mnt/gvisor_node.js 7001 ;;
	nginx) run nginx_ "$(command -v /usr/sbin/nginx)" ;;
	redis) from=linux && run redis redis-server ;;
	*) skip "there is no case $tag" ;;
	esac
	from=
done
echo "$passed cases passed, $bad failed"
[ $bad = 0 ]
