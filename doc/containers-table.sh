#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# containers-table.sh - the tables of CONTAINERS.md, from what tests/e2e/containers.sh found.
#
#   CKPT_TEST_CONTAINERS=full CKPT_TEST_RESULTS=FILE tests/e2e/containers.sh
#   containers-table.sh FILE           print the tables
#   containers-table.sh --write FILE   put them into CONTAINERS.md
#   containers-table.sh --check FILE   exit status 1 if the tables there say something else of what is in FILE, which may
#                                      be a part of it all
#
# FILE: lines "ENGINE/USER/WHAT yes|no" and "ENGINE/USER/to/ENGINE yes|no".
set -eu
doc=$(dirname "$0")/CONTAINERS.md
mode=
case ${1:-} in --write|--check) mode=$1; shift ;; esac
[ $# = 1 ] && [ -r "$1" ] || { echo "usage: containers-table.sh [--write|--check] FILE" >&2; exit 2; }
results=$1
begin='<!-- made by containers-table.sh -->' end='<!-- end -->'
engines='docker podman rootless runc crun bwrap'
whats='plain ro init tty three other drop admin wide'

name() {
	case $1 in
	rootless) echo 'podman, rootless' ;;
	bwrap) echo bubblewrap ;;
	host) echo 'the host' ;;
	*) echo "$1" ;;
	esac
}
user() { [ "$1" = root ] && echo root || echo 1000; }
# cell CELL: yes, no, or a dash for what there is not
cell() { awk -v c="$1" '$1 == c { r = $2 } END { print r ? r : "–" }' "$results"; }
line() { local w; printf '|'; for w in "$@"; do printf ' %s |' "$w"; done; echo; }

tables() {
	local e u w row
	line 'in' 'user' 'as it is' 'read-only, no capability' "the engine's init" '`-t` to none and back' 'three at once' \
		'in another image' 'a service that gave up root' '`--cap-add SYS_ADMIN` to none and back' 'our profile to none and back'
	line --- --- --- --- --- --- --- --- --- --- ---
	for e in $engines; do
		for u in root user; do
			row=()
			for w in $whats; do row+=("$(cell "$e/$u/$w")"); done
			line "$(name "$e")" "$(user $u)" "${row[@]}"
		done
	done
	echo
	line 'saved in' 'user' 'goes on in docker' podman 'podman, rootless' runc crun bubblewrap 'on the host'
	line --- --- --- --- --- --- --- --- ---
	for e in $engines host; do
		for u in root user; do
			[ "$e/$u" != rootless/root ] || continue
			row=()
			for w in $engines host; do
				if [ "$e" = "$w" ]; then row+=("$(cell "$e/$u/plain")"); else row+=("$(cell "$e/$u/to/$w")"); fi
			done
			line "$(name "$e")" "$(user $u)" "${row[@]}"
		done
	done
}

# Each cell of a table in CONTAINERS.md, as in FILE.
committed() {
	awk -v begin="$begin" -v end="$end" -v engines="$engines" -v whats="$whats" '
	function trim(s) { gsub(/^ +| +$/, "", s); return s }
	BEGIN {
		split(whats, w, " "); split(engines " host", to, " ")
		id["podman, rootless"] = "rootless"; id["bubblewrap"] = "bwrap"; id["the host"] = "host"
	}
	$0 == begin { on = 1 }
	$0 == end { on = 0 }
	!on || !/^\|/ { next }
	/^\| in / { table = 1; next }
	/^\| saved / { table = 2; next }
	/^\| ---/ { next }
	{
		n = split($0, f, "|")
		e = trim(f[2]); if (e in id) e = id[e]
		u = trim(f[3]) == "root" ? "root" : "user"
		for (i = 4; i < n; i++) {
			v = trim(f[i])
			if (v != "yes" && v != "no") continue
			if (table == 1) print e "/" u "/" w[i - 3], v
			else if (to[i - 3] != e) print e "/" u "/to/" to[i - 3], v
		}
	}' "$doc"
}

case $mode in
--write)
	{
		sed "/^$begin\$/q" "$doc"
		tables
		sed -n "/^$end\$/,\$p" "$doc"
	} >"$doc.new"
	mv "$doc.new" "$doc" ;;
--check)
	# Lines of FILE that are not in the document, or otherwise.
	wrong=$(sort -u "$results" | grep -vxF -f <(committed) || :)
	[ -z "$wrong" ] || { echo "doc/CONTAINERS.md says something else than (doc/containers-table.sh --write):"; echo "$wrong"; exit 1; } ;;
*) tables ;;
esac
