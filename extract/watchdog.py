"""A watchdog: it acts once nothing has been heard for some seconds."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self


class Watchdog:
    """Calls `act`, in a thread of its own, if `restart` is not called for `patience` seconds inside the block."""

    def __init__(self, patience: float, act: Callable[[], None]) -> None:
        self.expired = False
        """Whether `act` was called."""
        self._patience = patience
        self._act = act
        self._timer = self._new_timer()

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()

    def restart(self) -> None:
        """Something has been heard: wait for as long again."""
        self._timer.cancel()
        self._timer = self._new_timer()
        self._timer.start()

    def _new_timer(self) -> threading.Timer:
        timer = threading.Timer(self._patience, self._expire)
        timer.daemon = True
        return timer

    def _expire(self) -> None:
        self.expired = True
        self._act()
