#!/bin/bash
# SLURM for real, on one machine: controller and node daemons are started, and both sbatch examples run to their end, CPU only, each
# with a requeue in the middle.
#
#   tests/slurm/run.sh [FOLDER]      as root, on Debian or Ubuntu; installs slurm-wlm if it is not there; FOLDER is made again
#
# Nothing of the machine's own is changed but the running munged, slurmctld and slurmd, which are this script's.
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
FOLDER=${1:-/tmp/stillframe-slurm}
export STILLFRAME=${STILLFRAME:-$ROOT/.venv/bin}
IMAGES=${IMAGES:-1797}

say() { echo "== $*"; }

command -v slurmctld > /dev/null || { say "installing slurm-wlm"; apt-get update -qq; apt-get install -y -qq slurm-wlm > /dev/null; }

rm -rf "$FOLDER"
mkdir -p "$FOLDER"/{state,spool,log}
export SLURM_CONF=$FOLDER/slurm.conf
cat > "$SLURM_CONF" << END
ClusterName=one
SlurmctldHost=$(hostname -s)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
KillWait=30
StateSaveLocation=$FOLDER/state
SlurmdSpoolDir=$FOLDER/spool
SlurmctldLogFile=$FOLDER/log/slurmctld
SlurmdLogFile=$FOLDER/log/slurmd
SlurmctldPidFile=$FOLDER/slurmctld.pid
SlurmdPidFile=$FOLDER/slurmd.pid
MpiDefault=none
NodeName=$(hostname -s) CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
END

stop() {
    for name in slurmd slurmctld munged; do pkill -x "$name" || true; done
}
trap stop EXIT
stop
mkdir -p /run/munge && chown munge: /run/munge
[ -s /etc/munge/munge.key ] || mungekey --create
runuser -u munge -- munged --force
slurmctld
slurmd
for _ in $(seq 50); do
    [ "$(sinfo -h -o %T)" = idle ] && break
    sleep 0.2
done
say "$(slurmctld -V), $(sinfo -h -o '%N: %c CPUs, %T')"

"$STILLFRAME/extract" sample digits "$FOLDER/images" > /dev/null
cd "$FOLDER"

records() { find "$1/commit" -name '*.json' 2> /dev/null | wc -l; }

# Submit "$2" "$3"… with store "$1", requeue what runs once some shards are there, and wait for the end.
run_through() {
    local store=$1 array before
    shift
    export DATA=$FOLDER/images STORE=$FOLDER/$store OPTIONS="--pooling avg --shard-rows 40"
    array=$(sbatch --parsable --export=ALL "$@")
    say "submitted job $array: sbatch $*"
    until [ "$(records "$store")" -ge 5 ]; do sleep 0.1; done
    before=$(records "$store")
    find "$store/commit" -name '*.json' -newermt '@0' -printf '%f %T@\n' | sort > "$store.before"
    # shellcheck disable=SC2046
    scontrol requeue $(squeue -h -t running -o %i | paste -sd,)
    say "requeued in the middle, $before shards done: $(squeue -h -o '%i %T %r' | paste -sd';')"
    while [ -n "$(squeue -h)" ]; do sleep 0.5; done
    find "$store/commit" -name '*.json' -printf '%f %T@\n' | sort > "$store.after"
    say "committed before the requeue and written again after it: $(comm -23 "$store.before" "$store.after" | wc -l)"
    grep -h 'images in\|computed\|error' features-"$array"*.log | sed 's/^/   /'
    "$STILLFRAME/store" verify "$store"
}

run_through array "$ROOT/examples/jobs/array.sbatch"
run_through processes --gres=none --cpus-per-task=2 "$ROOT/examples/jobs/gpus.sbatch"

"$STILLFRAME/fit" head --features array --out head --quiet
say "done"
