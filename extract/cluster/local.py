"""A Dask cluster of processes of this machine, for `--scheduler local:N`."""

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import dask
from distributed import Nanny, Scheduler, SpecCluster, Worker, WorkerPlugin

from extract.process_state import environment_restored
from extract.runtimes.device import gpu_numbers
from extract.signals import signals_blocked_in_children
from store.errors import EnvironmentFailure

_SETTINGS = {
    "distributed.scheduler.worker-saturation": 1.0,  # otherwise a dying worker takes a second shard with it
    # These are for a dashboard, which there is not here, and take some hundredths of the workers' time.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
}
_ADDRESS = {"host": "127.0.0.1", "port": 0, "dashboard": False, "dashboard_address": "127.0.0.1:0"}


class CoreShare(WorkerPlugin):
    """Gives a worker process its share of the cores, so that libraries start that many threads.

    Args:
        number: of the worker, from 0.
        count: how many workers share the cores.
    """

    def __init__(self, number: int, count: int) -> None:
        self._number = number
        self._count = count
        self._before: set[int] | None = None

    def setup(self, worker: Worker) -> None:  # noqa: ARG002  the plugin's interface
        """Called on the worker before its first task."""
        if sys.platform == "linux":  # elsewhere processes have no affinity, and all workers share all cores
            self._before = os.sched_getaffinity(0)
            os.sched_setaffinity(0, core_share(sorted(self._before), self._number, self._count))

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002  the plugin's interface
        """Called on the worker at its end."""
        if sys.platform == "linux" and self._before is not None:
            os.sched_setaffinity(0, self._before)


def core_share(cores: Sequence[int], number: int, count: int) -> Sequence[int]:
    """The cores of worker `number` of `count`: at least one; workers share a core only if there are too few."""
    return cores[number % len(cores) :: count]


@contextmanager
def local_cluster(count: int) -> Iterator[SpecCluster]:
    """A cluster of that many processes, which share this machine's cores and have a GPU each as far as there are any.

    Raises:
        EnvironmentFailure: the processes did not start.
    """
    # Nannies set the variables of their workers, OMP_NUM_THREADS=1 among them, in this process and leave them there.
    with environment_restored(), dask.config.set(_SETTINGS):
        try:
            with signals_blocked_in_children():
                cluster = SpecCluster(
                    workers=_workers(count),
                    scheduler={"cls": Scheduler, "options": _ADDRESS},
                    silence_logs=logging.CRITICAL,
                    shutdown_on_close=True,
                )
        except (RuntimeError, OSError, TimeoutError) as error:
            raise EnvironmentFailure(
                f"the worker processes of --scheduler local:{count} did not start ({error.__cause__ or error}); a "
                'script that calls extract() must do so under `if __name__ == "__main__":`, because they import it'
            ) from error
        with cluster:
            yield cluster


def _workers(count: int) -> dict[int, dict[str, object]]:
    """The specification of each worker process."""
    gpus = gpu_numbers()
    workers: dict[int, dict[str, object]] = {}
    for number in range(count):
        options = {
            "nthreads": 1,
            "memory_limit": 0,
            "env": {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if gpus else {},
            "silence_logs": logging.CRITICAL,
            "plugins": [CoreShare(number, count)],
        }
        workers[number] = {"cls": Nanny, "options": options}
    return workers
