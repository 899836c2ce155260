#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""make -j4 with a compiler, recursive makes that share the job server, pipelines and archives: what it built is byte
for byte what it builds alone."""
import job

MAKEFILE = r'''
N := $(shell seq 40)
all: prog lib.a text.gz sub
	@echo built
prog: $(N:%=o/f%.o) o/main.o
	$(CC) -o $@ $^
o/f%.o: c/f%.c | o
	$(CC) -O2 -c -o $@ $<
o/main.o: c/main.c | o
	$(CC) -O2 -c -o $@ $<
o c:
	mkdir $@
c/f%.c: | c
	@echo 'unsigned f$*(unsigned x) { for (int i = 0; i < $*; i++) x = x * 1664525u + $*; return x; }' >$@.new && mv $@.new $@
c/main.c: | c
	@{ for i in $(N); do echo "unsigned f$$i(unsigned);"; done; echo '#include <stdio.h>'; echo 'int main(void) { unsigned x = 1;'; \
	   for i in $(N); do echo "x = f$$i(x);"; done; echo 'printf("%u", x); return 0; }'; } >$@
lib.a: $(N:%=o/f%.o)
	ar rcD $@ $^
text.gz: $(N:%=c/f%.c)
	cat $(sort $^) | tr a-z A-Z | sort | uniq -c | gzip -n9 >$@
sub:
	+$(MAKE) --no-print-directory -f sub.mk S=1
	+$(MAKE) --no-print-directory -f sub.mk S=2
.PHONY: all sub
.SECONDARY:
'''
SUB = r'''
all: $(patsubst %,s$(S)/%,$(shell seq 25))
s$(S)/%: | s$(S)
	@i=0; while [ $$i -lt 300 ]; do i=$$((i+1)); done; echo $* $$i | md5sum | cut -d' ' -f1 >$@
s$(S):
	@mkdir $@
'''


def main():
    j = job.Job("make", needs=["make", "gcc", "ar", "gzip"])
    j.write("Makefile", MAKEFILE)
    j.write("sub.mk", SUB)
    # Whole builds, one after the other, until it is told to stop.
    j.write("build.sh", r'''
set -e
ulimit -c 0
mkdir alone; (cd alone; make -s -j4 -f ../Makefile -I .. CC=gcc sub= >/dev/null)
sums() { (cd "$1" && find . -type f ! -name '*.mk' | sort | xargs sha256sum); }
sums alone >alone.sums; ./alone/prog >alone.said
n=0
echo ready
while [ ! -e stop ]; do
	rm -rf t; mkdir t; cp sub.mk t; n=$((n+1))
	(cd t; make -s -j4 -f ../Makefile CC=gcc) >log 2>&1 || { cat log; exit 1; }
	sums t >t.sums; ./t/prog >t.said
	cmp alone.sums t.sums; cmp alone.said t.said
	if grep -i warning log; then exit 1; fi
done
echo right $n
'''.replace("cd alone; make", "cp sub.mk alone; cd alone; make").replace("-I .. CC=gcc sub=", "CC=gcc"))
    j.launch("bash", "build.sh")
    j.counts()
    j.done()


main()
