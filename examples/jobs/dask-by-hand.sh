#!/bin/bash
# A Dask scheduler and workers by hand, on machines that share the folders of the images, of the store and of the scheduler file.
#
#   dask-by-hand.sh scheduler     on one machine; goes on until it is stopped
#   dask-by-hand.sh workers 4     on every machine that is to work: four processes, one per GPU if it has four
#   dask-by-hand.sh run DATA STORE [options of extract run]
#
# Whoever can reach the scheduler's or a worker's port can run code there: only on networks that are trusted.
set -euo pipefail
BIN=${STILLFRAME:-.venv/bin}
FILE=${SCHEDULER_FILE:-/shared/scheduler.json}

case "${1:-}" in
scheduler)
    exec "$BIN/dask" scheduler --no-dashboard --scheduler-file "$FILE"
    ;;
workers)
    # One thread a worker: a shard uses all that its process has. A worker without a scheduler for a minute ends; restart it with
    # whatever restarts your services, as after a scheduler's restart.
    trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
    for ((gpu = 0; gpu < ${2:-1}; gpu++)); do
        CUDA_VISIBLE_DEVICES=$gpu "$BIN/dask" worker --scheduler-file "$FILE" \
            --nthreads 1 --memory-limit 0 --no-dashboard --death-timeout 60 &
    done
    wait
    ;;
run)
    data=$2 store=$3
    shift 3
    exec "$BIN/extract" run "$data" --out "$store" --scheduler "file:$FILE" "$@"
    ;;
*)
    echo "usage: $0 scheduler | workers N | run DATA STORE [options]" >&2
    exit 2
    ;;
esac
