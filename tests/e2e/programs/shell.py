#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What shell scripts are made of: pipelines, coprocesses, process substitution, here documents, traps, time-outs, locks,
FIFOs, background jobs, xargs -P, tar, gzip, rsync, curl, wget, sqlite3, expect and script, each in a loop that compares
what came out. What is not installed is left out."""
import job

SCRIPT = r'''
set -u
die() { echo "wrong: $*"; kill -TERM $main; exit 1; }
same() { [ "$2" = "$3" ] || die "$1: '$2' is not '$3'"; }
has() { command -v "$1" >/dev/null; }
main=$$
trap 'exit 1' TERM
mkdir tree; for i in $(seq 60); do seq $i $((i*50)) >tree/f$i; done
sum=$(cat $(ls tree/* | sort) | md5sum)
count=$(cat tree/* | wc -l)

pipeline() {
	same pipeline "$(seq 20000 | tee >(wc -c >bytes) | sort -R | sort -n |
		awk '{ s += $1 } END { print s, NR }' | sed 's/ /-/' | tr - +)" "200010000+20000"
}
archive() {
	rm -rf un; mkdir un
	tar ch tree | gzip -1 | gunzip | tar x -C un || die tar
	same archive "$(cd un && cat $(ls tree/* | sort) | md5sum)" "$sum"
}
many() {
	same xargs "$(find tree/ -type f | xargs -P 4 -n 5 sh -c 'cat "$@" | wc -l' sh |
		awk '{ s += $1 } END { print s }')" "$count"
}
co() {
	coproc C { while read -r a b; do echo $((a * b)); done; }
	for i in 1 2 3 4 5 6 7 8 9; do
		echo "$i $((i + 1))" >&"${C[1]}"
		read -r x <&"${C[0]}"
		same coproc "$x" $((i * (i + 1)))
	done
	exec {C[1]}>&-
	wait $C_PID
}
substitution() {
	same diff "$(diff <(seq 100) <(seq 2 101) | grep -c '[<>]')" 2
	same paste "$(paste <(seq 300) <(seq 300 -1 1) | awk '{ if ($1 + $2 != 301) print }')" ""
}
here() {
	same here "$(cat <<-X
	$(seq 5 | tr '\n' ' ')
	X
	)" "1 2 3 4 5 "
	same string "$(wc -c <<<"$(seq 30000)")" 168894
}
fifosum=$(seq 5000 | md5sum)
fifo() {
	rm -f p; mkfifo p
	(seq 5000 >p) &
	same fifo "$(md5sum <p)" "$fifosum"
	wait $!
}
traps() {
	same trap "$(bash -c 'n=0; trap "n=\$((n+1))" USR1
		for i in 1 2 3 4 5; do kill -USR1 $$; done
		(trap "exit 3" TERM; kill -TERM $BASHPID; sleep 100)
		echo $n $?')" "5 3"
}
times() {
	timeout 0.2 sleep 60; same timeout $? 124
	read -r -t 0.1 x <> <(:)
	local got=$?
	[ $got -gt 128 ] || [ $got = 1 ] || die "read -t: $got"
	local t=$SECONDS
	sleep 0.3
	[ $((SECONDS - t)) -lt 60 ] || die sleep
}
locks() {
	echo 0 >n
	for i in 1 2 3; do
		for k in 1 2 3 4; do flock lock bash -c 'x=$(<n); sleep 0.01; echo $((x+1)) >n'; done &
	done
	wait
	same flock "$(<n)" 12
}
background() {
	local p=()
	for i in 1 2 3 4 5; do (sleep 0.0$i; exit $i) & p+=($!); done
	for i in 5 4 3 2 1; do wait ${p[i-1]}; same wait $? $i; done
}
copy() {
	has rsync || return 0
	rm -rf mirror
	rsync -aL tree mirror/ || die rsync
	same rsync "$(cd mirror && cat $(ls tree/* | sort) | md5sum)" "$sum"
}
database() {
	has sqlite3 || return 0
	rm -f db*
	same sqlite "$({
		echo 'pragma journal_mode=wal; create table t(i integer primary key, v);'
		for i in $(seq 30); do
			echo "begin; insert into t(v) select $i * value from generate_series(1, 100); commit;"
		done
		echo 'pragma integrity_check; select count(*), sum(v) from t;'
	} | sqlite3 db 2>&1 | tr '\n' ' ')" "wal ok 3000|2348250 "
}
dialogue() {
	has expect || return 0
	same expect "$(expect -c 'set timeout 60; log_user 0; spawn cat
		for {set i 0} {$i < 20} {incr i} {
			send "x$i\r"
			expect -ex "x$i\r\nx$i\r\n" {} timeout { puts bad }
		}
		close; wait; puts done' 2>&1)" "done"
}
terminal() {
	has script || return 0
	same script "$(script -qec 'stty size >/dev/null; tty | cut -c1-9; exit 4' script.log </dev/null |
		tr -d '\r'; echo ${PIPESTATUS[0]})" "/dev/pts/"$'\n4'
}
web() {
	local url=http://127.0.0.1:$port
	if has curl; then
		same curl "$(curl -s $url/tree/f60 | md5sum)" "$(md5sum <tree/f60)"
		same curls "$(curl -s "$url/tree/f[1-20]" | wc -l)" \
			"$(cat tree/f[1-9] tree/f1[0-9] tree/f20 | wc -l)"
	fi
	if has wget; then same wget "$(wget -qO- $url/big | md5sum)" "$big"; fi
}
secret() {
	has openssl || return 0
	local with="-aes-256-cbc -pbkdf2 -iter 1000 -k x"
	same openssl "$(seq 3000 | openssl enc $with | openssl enc -d $with | md5sum)" "$(seq 3000 | md5sum)"
}
languages() {
	has perl && same perl "$(perl -e 'pipe(R, W);
		if (!fork) { print W "$_\n" for 1..500; exit 7 }
		close W; $s += $_ while <R>; wait; print $s, " ", $? >> 8')" "125250 7"
	has ruby && same ruby "$(ruby -e 'q = Queue.new
		t = 4.times.map { |i| Thread.new { 50.times { |k| q << i * k } } }; t.each(&:join)
		s = 0; s += q.pop until q.empty?
		puts s, IO.popen("cat", "r+") { |p| p.puts 42; p.close_write; p.read }' | tr '\n' ' ')" "7350 42 "
	has php && same php "$(php -r '$p = proc_open(["sort", "-n"], [["pipe", "r"], ["pipe", "w"]], $f);
		for ($i = 200; $i; $i--) fwrite($f[0], "$i\n");
		fclose($f[0]); echo md5(stream_get_contents($f[1])), proc_close($p);')" \
		"$(seq 200 | md5sum | cut -d' ' -f1)0"
	has lua && same lua "$(lua -e 'local f = io.popen("seq 100"); local s = 0
		for l in f:lines() do s = s + l end; io.write(string.format("%d", s))')" 5050
	has tclsh && same tclsh "$(echo 'set s 0; for {set i 0} {$i < 3000} {incr i} {incr s $i}
		after 20 {set x 1}; vwait x; puts [exec echo $s]' | tclsh)" 4498500
}
seq 200000 >big.txt; ln -s big.txt big; big=$(md5sum <big.txt)
python3 -u -c '
import http.server, functools, sys
class H(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *a): pass
s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), H)
print(s.server_port, flush=True)
s.serve_forever()' >port & server=$!
until [ -s port ]; do sleep 0.02; done; port=$(<port)
workers=()
loop() {	# NUMBER WHAT: again and again, in a directory of its own
	local n=0
	mkdir "w.$1"; cd "w.$1" || die cd
	ln -s ../tree ../big .
	until [ -e ../stop ]; do
		for f in $2; do $f; done
		n=$((n + 1))
	done
	echo $n >done
}
loop 1 "pipeline co substitution here web" & workers+=($!)
loop 2 "archive many fifo copy database" & workers+=($!)
loop 3 "traps times locks background dialogue terminal languages secret" & workers+=($!)
echo ready
for w in ${workers[@]}; do wait $w || die "worker $w"; done
kill $server; wait
echo right $(cat w.*/done)
'''


def main():
    j = job.Job("shell")
    j.launch("bash", j.write("script.sh", SCRIPT))
    j.counts()
    j.check("all was right", "wrong" not in j.said())
    j.done()


main()
