"""What the loop reports to, and what stops it."""

import threading
from dataclasses import dataclass, field

from extract.clock import Clock
from store.progress import Progress, Silence


@dataclass(frozen=True)
class Monitor:
    """The observers of one loop: `clock` measures its phases, `progress` shows it, and setting `stop` ends it early."""

    clock: Clock = field(default_factory=Clock)
    progress: Progress = field(default_factory=Silence)
    stop: threading.Event = field(default_factory=threading.Event)
