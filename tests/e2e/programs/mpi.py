#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""mpich and openmpi, four ranks on one machine, over shared memory and over TCP: rings, collectives and messages of every
size, with the numbers that must come out."""
import sys

import job

PROGRAM = r'''
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#define CHECK(c) do { if (!(c)) { printf("rank %d step %ld: %s\n", me, n, #c); fflush(stdout); MPI_Abort(MPI_COMM_WORLD, 3); } } while (0)
enum { MAX = 40000 };
int main(int argc, char **argv)
{
	static double a[MAX], b[MAX], c[4 * MAX];
	int me, np, stop = 0; long n = 0; double pi = 0;
	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &me); MPI_Comm_size(MPI_COMM_WORLD, &np);
	if (!me) { printf("ready\n"); fflush(stdout); }
	for (; !stop; n++) {
		int len = 1 + (int)(n * 7919 % (MAX - 1)), to = (me + 1) % np, from = (me + np - 1) % np;
		MPI_Request q[2];
		for (int i = 0; i < len; i++) a[i] = me * 1e6 + n + i;
		MPI_Irecv(b, MAX, MPI_DOUBLE, from, 5, MPI_COMM_WORLD, &q[0]);
		MPI_Isend(a, len, MPI_DOUBLE, to, 5, MPI_COMM_WORLD, &q[1]);
		MPI_Waitall(2, q, MPI_STATUSES_IGNORE);
		for (int i = 0; i < len; i++) CHECK(b[i] == from * 1e6 + n + i);
		double part = 0, sum;
		for (int i = me; i < 20000; i += np) { double x = (i + 0.5) / 20000; part += 4 / (1 + x * x); }
		MPI_Allreduce(&part, &sum, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
		pi = sum / 20000; CHECK(pi > 3.14159265 && pi < 3.14159266);
		int k = 1 + (int)(n % (len < 1000 ? len : 1000));
		MPI_Allgather(a, k, MPI_DOUBLE, c, k, MPI_DOUBLE, MPI_COMM_WORLD);
		for (int r = 0; r < np; r++) CHECK(c[r * k + k - 1] == r * 1e6 + n + k - 1);
		MPI_Alltoall(c, k / np + 1, MPI_DOUBLE, b, k / np + 1, MPI_DOUBLE, MPI_COMM_WORLD);
		if (!me) stop = access("stop", F_OK) == 0;
		MPI_Bcast(&stop, 1, MPI_INT, 0, MPI_COMM_WORLD);
		MPI_Barrier(MPI_COMM_WORLD);
	}
	long least;
	MPI_Reduce(&n, &least, 1, MPI_LONG, MPI_MIN, 0, MPI_COMM_WORLD);
	if (!me) { CHECK(least == n); printf("right %.7f after %ld\n", pi, n); fflush(stdout); }
	MPI_Finalize();
	return 0;
}
'''

KINDS = {
    "mpich-shm": ("mpicc.mpich", ["mpirun.mpich", "-np", "4"], {}),
    "mpich-tcp": ("mpicc.mpich", ["mpirun.mpich", "-np", "4"], {"MPIR_CVAR_NOLOCAL": "1", "MPIR_CVAR_CH4_NETMOD": "ofi",
                                                               "FI_PROVIDER": "tcp", "MPICH_NO_LOCAL": "1"}),
    "openmpi-shm": ("mpicc.openmpi", ["mpirun.openmpi", "--oversubscribe", "--mca", "btl", "self,vader", "-np", "4"], {}),
    "openmpi-tcp": ("mpicc.openmpi", ["mpirun.openmpi", "--oversubscribe", "--mca", "btl", "self,tcp", "--mca",
                                      "btl_tcp_if_include", "lo", "-np", "4"], {}),
}


def main():
    kinds = sys.argv[1:] or list(KINDS)
    ran = 0
    for kind in kinds:
        cc, run, env = KINDS[kind]
        if not job.find(cc) or not job.find(run[0]):
            print(kind, "skipped:", run[0], "is not installed")
            continue
        j = job.Job(kind)
        j.write("program.c", PROGRAM)
        r = j.run(cc, "-w", "-O2", "-o", "program", "program.c")
        if r.returncode:
            job.skip(f"{cc} does not work: {r.stdout}")
        j.env.update(env, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_mpi_yield_when_idle="1")
        j.launch(*run, "./program")
        j.expect("ready")
        j.rounds(rounds=max(1, job.ROUNDS // 2))
        j.stop()
        print(kind, j.expect("right"))
        j.done()
        ran += 1
    if not ran:
        job.skip("no MPI is installed")


main()
