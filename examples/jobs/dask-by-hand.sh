#!/bin/bash
# Start a Dask scheduler and workers by hand, on machines that share the folders of the images, the store and the scheduler file.
#
#   dask-by-hand.sh scheduler     on one machine; runs until it is stopped
#   dask-by-hand.sh workers 4     on every worker machine: four processes, one per GPU if it has four
#   dask-by-hand.sh run DATA STORE [options of extract run]
#
# Anyone who can reach the port of the scheduler or of a worker can run code there: use this on trusted networks only.
set -euo pipefail
BIN=${STILLFRAME:-.venv/bin}
FILE=${SCHEDULER_FILE:-/shared/scheduler.json}

case "${1:-}" in
scheduler)
    exec "$BIN/dask" scheduler --no-dashboard --scheduler-file "$FILE"
    ;;
workers)
    # One thread per worker, because a shard uses all cores of its process. A worker that finds no scheduler for a minute ends;
    # let your service manager restart it, as after a restart of the scheduler.
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
