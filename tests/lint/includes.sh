#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# includes.sh - the layers of doc/ARCHITECTURE.md, checked at every #include "...": which folder may
# use which. Includes are by file name (the same folder) or relative.
set -eu
: "${srcdir:=.}"
cd "$srcdir"
bad=0

# may FROM TO: TO is a path like common/err.h
may() {
	case $1:$2 in
	common:common/*) ;;
	preload:preload/* | preload:common/agent.h | preload:common/withheld.h | preload:common/compiler.h) ;;
	restart/stub:restart/stub/* | restart/stub:restart/plan.h | restart/stub:common/compiler.h) ;;
	resource:resource/* | resource:common/*) ;;
	coordinator:coordinator/* | coordinator:common/* | coordinator:resource/* | coordinator:preload/ckpt.h) ;;
	restart:restart/* | restart:common/* | restart:resource/*) ;;
	launcher:launcher/* | launcher:common/*) ;;
	inspect:inspect/* | inspect:common/*) ;;
	*) return 1 ;;
	esac
}

for dir in common preload resource coordinator launcher restart restart/stub inspect; do
	for file in "$dir"/*.[chS] "$dir"/*.def; do
		[ -e "$file" ] || continue
		for inc in $(sed -n 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*"\([^"]*\)".*/\1/p' "$file"); do
			# a/b/../c -> a/c
			to=$(echo "$dir/$inc" | sed -e ':a' -e 's,[^/.][^/]*/\.\./,,' -e 'ta')
			if [ ! -e "$to" ]; then
				echo "$file includes $inc: there is no $to (name it relative to the file)"
				bad=1
			elif ! may "$dir" "$to"; then
				echo "$file includes $to: $dir/ may not use it, see doc/ARCHITECTURE.md"
				bad=1
			fi
		done
	done
done
exit $bad
