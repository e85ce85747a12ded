"""Connecting to the Dask cluster that `--scheduler` names. Trouble is reported in one line, not in Dask's own logs.

Anyone who can reach the port of a scheduler or a worker can run code there: use this on trusted networks only.
"""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
            with local_cluster(int(place)) as cluster, _ready_client(cluster, scheduler) as client:
                yield client
        else:
            address = _address_in(place, scheduler) if kind == "file" else scheduler
            with _ready_client(address, scheduler) as client:
                yield client


def _address_in(scheduler_file: str, named: str) -> str:
    """The address that a scheduler has written to its file.

    Raises:
        EnvironmentFailure: there is none.
    """
    try:
        content = json.loads(Path(scheduler_file).read_bytes())
    except FileNotFoundError:
        raise EnvironmentFailure(
            f"--scheduler {named}: there is no such file (yet): start the scheduler first"
        ) from None
    except (OSError, ValueError) as error:
        raise EnvironmentFailure(f"--scheduler {named} cannot be read ({error}): start the scheduler again") from error
    address = content.get("address") if isinstance(content, dict) else None
    if not isinstance(address, str):
        raise EnvironmentFailure(f"--scheduler {named} has no address in it: start the scheduler again")
    return address


@contextmanager
def _ready_client(address: SpecCluster | str, named: str) -> Iterator[Client]:
    client = _client(address, named)
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


def _client(address: SpecCluster | str, named: str) -> Client:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about versions that differ: workers are checked by what they need
            return Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise EnvironmentFailure(
            f"no Dask scheduler answers at {named} ({error}): is it running, and can this machine reach it?"
        ) from error
