#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# image-records.sh - the tables of records in image-format.md, from common/records.def.
#
#   image-records.sh           print image-format.md with the tables made anew
#   image-records.sh --write   put them into image-format.md
#   image-records.sh --check   exit status 1 if they are not those in image-format.md
set -eu
cd "$(dirname "$0")/.."
DEF=common/records.def
DOC=doc/image-format.md

tables() {
	awk '
	# R(name, tag, need) lines first, REC_name() blocks later.
	/^[ \t]*R\([a-z_]+,/ {
		match($0, /R\([a-z_]+/); name = substr($0, RSTART + 2, RLENGTH - 2)
		match($0, /0x[0-9a-f]+/); tag[name] = substr($0, RSTART, RLENGTH)
		need[name] = /REQUIRED/ ? "required" : "optional"
	}
	/^#define REC_[a-z_]+\(F, S\)/ {
		match($0, /REC_[a-z_]+/); name = substr($0, RSTART + 4, RLENGTH - 4)
		printf "\n#### %s (%s, %s)\n| field | type | meaning |\n| --- | --- | --- |\n", \
			name, tag[name], need[name]
	}
	{
		line = $0
		while (match(line, /F\(S,[ \t]*[a-z0-9]+,[ \t]*[a-z0-9_]+,[ \t]*"[^"]*"\)/)) {
			f = substr(line, RSTART, RLENGTH)
			line = substr(line, RSTART + RLENGTH)
			split(f, part, /,[ \t]*/)
			match(f, /"[^"]*"/)
			doc = substr(f, RSTART + 1, RLENGTH - 2)
			gsub(/\|/, "\\|", doc)
			printf "| %s | %s | %s |\n", part[3], part[2], doc
		}
	}' "$DEF"
	echo
}

document() {
	sed '/^<!-- records -->$/q' "$DOC"
	tables
	sed -n '/^<!-- \/records -->$/,$p' "$DOC"
}

case ${1:-} in
'') document ;;
--write) document >"$DOC.new" && mv "$DOC.new" "$DOC" ;;
--check)
	document | cmp -s - "$DOC" && exit 0
	echo "the tables in $DOC are not those of $DEF: doc/image-records.sh --write" >&2
	exit 1 ;;
*) echo "usage: image-records.sh [--write|--check]" >&2; exit 2 ;;
esac
