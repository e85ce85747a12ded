"""Connecting to the Dask cluster that `--scheduler` names. Trouble is reported in one line, not in Dask's own logs.

Anyone who can reach the port of a scheduler or a worker can run code there: use this on trusted networks only.
"""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from distributed import Client, SpecCluster

from extract.cluster.local import local_cluster
from extract.process_state import logger_levels
from extract.request import parse_scheduler
from store.errors import EnvironmentFailure

PATIENCE = 30.0
"""Seconds to wait for a scheduler, and for its first worker."""

_LOGGERS = ("distributed", "distributed.client", "tornado.application", "asyncio")


@contextmanager
def connected(scheduler: str) -> Iterator[Client]:
    """A client of a cluster that has at least one worker.

    Args:
        scheduler: `tcp://HOST:PORT`, `file:PATH` of a scheduler file, or `local:N` for N processes of this machine.

    Raises:
        UsageError: it is something else.
        EnvironmentFailure: the scheduler cannot be reached, or has no workers.
    """
    kind, place = parse_scheduler(scheduler)
    with logger_levels(logging.CRITICAL, *_LOGGERS):
        if kind == "local":
            with local_cluster(int(place)) as cluster, _ready_client(cluster, None, scheduler) as client:
                yield client
        elif kind == "file":
            if not os.path.exists(place):
                raise EnvironmentFailure(
                    f"--scheduler {scheduler}: there is no such file (yet): start the scheduler first"
                )
            with _ready_client(None, place, scheduler) as client:
                yield client
        else:
            with _ready_client(scheduler, None, scheduler) as client:
                yield client


@contextmanager
def _ready_client(address: SpecCluster | str | None, scheduler_file: str | None, named: str) -> Iterator[Client]:
    client = _client(address, scheduler_file, named)
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError:
        client.close(timeout=5)
        raise EnvironmentFailure(
            f"the scheduler at {named} has no workers after {PATIENCE:g} s: start some with `dask worker`"
        ) from None
    try:
        yield client
    finally:
        client.close(timeout=5)


def _client(address: SpecCluster | str | None, scheduler_file: str | None, named: str) -> Client:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about versions that differ: workers are checked by what they need
            return Client(address, scheduler_file=scheduler_file, timeout=PATIENCE, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise EnvironmentFailure(
            f"no Dask scheduler answers at {named} ({error}): is it running, and can this machine reach it?"
        ) from error
