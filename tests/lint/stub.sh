#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# stub.sh - the stub needs nothing and can lie at any address: no undefined symbol, no relocation
# left, no variables, no x87, MMX or SSE registers (they hold the program's state).
set -eu
: "${builddir:=.}" "${NM:=nm}" "${READELF:=readelf}"
elf=$builddir/restart/stub/stub.elf
blob=$builddir/restart/stub/stub.bin
[ -s "$blob" ] || { echo "$blob is missing"; exit 1; }
bad=0

if "$NM" -u "$elf" | grep .; then echo "$elf: undefined symbols"; bad=1; fi
if "$READELF" -rW "$elf" | grep 'R_X86_64_'; then echo "$elf: relocations"; bad=1; fi
# Symbols of .data and .bss: d, D, b, B; _DYNAMIC is the linker's and not part of the blob.
if "$NM" "$elf" | grep -v ' _DYNAMIC$' | grep ' [dDbB] '; then echo "$elf: variables"; bad=1; fi
if command -v objdump >/dev/null && objdump -d "$elf" | grep -E '%(st|mm|xmm|ymm|zmm)[0-9(]'; then
	echo "$elf: touches floating point or vector registers"
	bad=1
fi
exit $bad
