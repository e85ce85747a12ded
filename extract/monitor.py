"""What observes the loop and stops it: its time by phase, its progress, and requests to stop."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from store.progress import Progress, Silence


class Clock:
    """Measures how long the loop waited for each phase.

    Phases overlap, so the seconds of work in each say little about what limits a run; the seconds that the loop waited
    do. Decoding threads report how their time divides into reading and decoding (`busy`), the loop reports its waits
    (`waiting`), and `span` runs from the first read to the last commit.
    """

    def __init__(self) -> None:
        self.span = 0.0
        """Seconds from the first read to the last commit."""
        self.processor_seconds = 0.0
        """Processor time of this process within that span, all cores together."""
        self._lock = threading.Lock()
        self._busy: dict[str, float] = {}
        self._waited: dict[str, float] = {}
        self._shared: dict[str, float] = {}
        self._start = (0.0, 0.0)

    def start(self) -> None:
        """Begin the span: call it just before the first read."""
        self._start = (time.perf_counter(), time.process_time())

    def stop(self) -> None:
        """End the span: call it after the last commit."""
        start, processor_start = self._start
        self.span = time.perf_counter() - start
        self.processor_seconds = time.process_time() - processor_start

    @property
    def elapsed(self) -> float:
        """Seconds of the span so far."""
        return time.perf_counter() - self._start[0]

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the block's time out of the span."""
        before = (time.perf_counter(), time.process_time())
        try:
            yield
        finally:
            seconds, processor = time.perf_counter() - before[0], time.process_time() - before[1]
            self._start = (self._start[0] + seconds, self._start[1] + processor)

    @contextmanager
    def busy(self, phase: str) -> Iterator[None]:
        """Count the block's time as work on read or decode; safe from any thread."""
        start = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - start
            with self._lock:
                self._busy[phase] = self._busy.get(phase, 0.0) + seconds

    @contextmanager
    def waiting(self, phase: str) -> Iterator[None]:
        """Count the block's time as the loop's wait for decode, compute or write."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._waited[phase] = self._waited.get(phase, 0.0) + time.perf_counter() - start

    def add_waits(self, phases: Mapping[str, float], loops: int) -> None:
        """Add the waits of one loop out of `loops` that run at the same time, on the workers of a cluster."""
        for name, seconds in phases.items():
            self._shared[name] = self._shared.get(name, 0.0) + seconds / loops

    def phases(self) -> dict[str, float]:
        """Seconds that the loop waited for each phase; the rest of the span was its own work."""
        decode_wait = self._waited.get("decode", 0.0)
        worked = sum(self._busy.values())
        reading = decode_wait * self._busy.get("read", 0.0) / worked if worked else 0.0
        own = {
            "read": reading,
            "decode": decode_wait - reading,
            "compute": self._waited.get("compute", 0.0),
            "write": self._waited.get("write", 0.0),
        }
        return {name: seconds + self._shared.get(name, 0.0) for name, seconds in own.items()}


@dataclass(frozen=True)
class Monitor:
    """The observers of one loop: `clock` measures its phases, `progress` shows it, and setting `stop` ends it early."""

    clock: Clock = field(default_factory=Clock)
    progress: Progress = field(default_factory=Silence)
    stop: threading.Event = field(default_factory=threading.Event)
