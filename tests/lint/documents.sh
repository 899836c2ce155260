#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# documents.sh - every record is described in doc/image-format.md, every reason code in a man page and in doc/HOWTO.md,
# every kind of open file in doc/SUPPORT.md, every source file in the tables of doc/ARCHITECTURE.md, every message to and from the library in doc/protocol.md, every option of a program in its man page.
set -eu
: "${srcdir:=.}" "${builddir:=.}"
cd "$srcdir"
bad=0
missing() { echo "$1 does not mention $2"; bad=1; }

if [ -e doc/image-format.md ]; then
	for name in $(sed -n 's/^[[:space:]]*R(\([a-z_]*\),.*\(REQUIRED\|OPTIONAL\)).*/\1/p' common/records.def); do
		grep -q -w -e "$name" doc/image-format.md || missing doc/image-format.md "the record $name"
	done
fi

if [ -e doc/protocol.md ]; then
	version=$(sed -n 's/^#define AGENT_VERSION[[:space:]]*//p' common/agent.h)
	grep -q -e "version ($version)" doc/protocol.md || missing doc/protocol.md "version ($version) of the agent protocol"
	for name in $(sed -n 's/^[[:space:]]*X([0-9]*,[[:space:]]*\([A-Z_]*\),.*TO_.*/\1/p' common/agent.h); do
		grep -q -w -e "$name" doc/protocol.md || missing doc/protocol.md "the message $name"
	done
fi

if [ -e doc/SUPPORT.md ]; then
	for name in $(sed -n 's/^[[:space:]]*\.name = "\([a-z0-9_]*\)",$/\1/p' resource/*.c | grep -v -x unknown); do
		grep -q -w -e "$name" doc/SUPPORT.md || missing doc/SUPPORT.md "the kind $name"
	done
fi

# names DIRECTORY: the files and patterns in the tables below the title that names it.
names() {
	awk -v dir="$1/" '/^##/ { on = index($0, " " dir) } on && /^\| `/ { split($0, cell, " \\| "); print cell[1] }' \
		doc/ARCHITECTURE.md | grep -o '`[^`]*`' | tr -d '`'
}

if [ -e doc/ARCHITECTURE.md ]; then
	for dir in common coordinator inspect launcher preload resource restart; do
		told=$(names $dir | tr '\n' ' ')
		for file in $dir/*.c; do
			found=0
			set -f
			for name in $told; do
				# shellcheck disable=SC2254  # a pattern, as in round_*.c
				case ${file##*/} in $name) found=1 ;; esac
			done
			set +f
			[ $found = 1 ] || missing doc/ARCHITECTURE.md "$file"
		done
		for name in $told; do
			# shellcheck disable=SC2086  # the same
			ls $dir/$name >/dev/null 2>&1 || { echo "doc/ARCHITECTURE.md mentions $dir/$name, which is not there"; bad=1; }
		done
	done
fi

if [ -e doc/HOWTO.md ]; then
	for code in $(sed -n 's/.*"\(E-[A-Z-]*\)".*/\1/p' common/err.h); do
		grep -q -e "^| .*$code\b.* |" doc/HOWTO.md || missing doc/HOWTO.md "$code, and what to do then"
	done
fi

set -- doc/man/*.[1-8]
if [ -e "$1" ]; then
	for code in $(sed -n 's/.*"\(E-[A-Z-]*\)".*/\1/p' common/err.h); do
		# In a man page a hyphen may be written as \-.
		sed 's/\\-/-/g' "$@" | grep -q -w -e "$code" || missing "doc/man" "$code"
	done
	for page in "$@"; do
		program=$(basename "$page" | sed 's/\.[1-8]$//')
		[ -x "$builddir/$program" ] || continue
		for option in $("$builddir/$program" --help | grep -o -e '--[a-z][a-z-]*' | sort -u); do
			sed 's/\\-/-/g' "$page" | grep -q -e "$option" || missing "$page" "$option"
		done
		if command -v mandoc >/dev/null && ! mandoc -T lint -W error "$page"; then bad=1; fi
	done
fi
exit $bad
