#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# howto_slurm.sh DIR TAG - for howto.sh: a Slurm of one node, in namespaces of its own, runs DIR/job.sbatch. Twice it is
# warned as Slurm does before the time limit, requeued, and continued; then it comes to its end. Status 77: Slurm does
# not come up here.
set -u
dir=$1 tag=$2
if [ "${3:-}" != inside ]; then
	exec timeout -k 5 300 unshare --net --pid --mount --uts --fork --kill-child --mount-proc bash "$0" "$dir" "$tag" inside
fi
cd "$dir" || exit 1
mkdir -p slurm/state slurm/spool
export SLURM_CONF=$dir/slurm/slurm.conf
cat >"$SLURM_CONF" <<END
ClusterName=one
SlurmctldHost=node1(10.9.8.7)
AuthType=auth/none
CredType=cred/none
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$dir/slurm/state
SlurmdSpoolDir=$dir/slurm/spool
SlurmctldPidFile=$dir/slurm/slurmctld.pid
SlurmdPidFile=$dir/slurm/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerParameters=batch_sched_delay=0,sched_interval=1
NodeName=node1 NodeAddr=10.9.8.7 CPUs=1 State=UNKNOWN
PartitionName=all Nodes=node1 Default=YES MaxTime=INFINITE State=UP
END
# Its names are looked up as if the machine had a network.
hostname node1
ip link set lo up && ip addr add 10.9.8.7/32 dev lo || exit 77
echo '10.9.8.7 node1' >slurm/hosts
mount --bind slurm/hosts /etc/hosts || exit 77
slurmctld -D >slurm/slurmctld.log 2>&1 &
slurmd -D -N node1 >slurm/slurmd.log 2>&1 &
within() { for _ in $(seq 600); do "$@" && return 0; sleep 0.1; done; return 1; }
idle() { timeout 5 sinfo -h -o %T 2>/dev/null | grep -q idle; }
for _ in 1 2 3 4 5 6 7 8; do idle && break; sleep 0.5; done
idle || { tail -n 3 slurm/*.log; echo "Slurm does not come up here"; exit 77; }

id=$(STEPS=60 sbatch --parsable job.sbatch) || exit 1
out=slurm-$id.out
lines() { [ "$(grep -c step "$out")" -ge "$1" ]; }
checkpoints() { [ "$(ls "checkpoints/sim$tag-$id" 2>/dev/null)" = "$1" ]; }
state() { squeue -h -j "$id" -o %T; }
pending() { [ "$(state)" = PENDING ]; }
gone() { [ -z "$(state)" ]; }
failed() { echo "$1"; state; tail -n 20 "$out" slurm/*.log; exit 1; }
for life in 1 2; do
	within lines $((life * 20)) || failed "it does not run ($life)"
	scancel --batch --signal=TERM "$id"
	within pending || failed "it was not requeued ($life)"
	within checkpoints $life || failed "not the newest checkpoint, and that alone ($life): $(ls checkpoints/*)"
	# Not in the second in which slurmd took back the credential of the life before.
	scontrol update "jobid=$id" starttime=now+3
done
within grep -q done "$out" || failed "it does not come to its end"
within gone || failed "Slurm does not know that it has ended"
awk '$1 == "step" { n++; if ($2 != n) bad = 1 } END { exit bad || n != 60 }' "$out" || failed "a line is missing, or came twice"
