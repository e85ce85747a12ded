"""A network that is loaded once an image has to be computed: not at all, where a store has the features of all images."""

from collections.abc import Callable, Mapping, Sequence

from extract.runtimes.base import Pending, Pixels, Runtime


class DeferredRuntime(Runtime):
    """A runtime that loads its network at the first `start`, or before it at `load`.

    Until then it takes one image at a time, so that the network need not be asked how many it takes.

    Args:
        load: loads the network; takes seconds.
    """

    def __init__(self, load: Callable[[], Runtime]) -> None:
        self._load = load
        self.loaded: Runtime | None = None
        """The loaded network; None while there was no need for it."""

    def load(self) -> Runtime:
        """The network, loaded now if it was not."""
        if self.loaded is None:
            self.loaded = self._load()
        return self.loaded

    @property
    def shapes(self) -> Sequence[tuple[int, ...]]:
        """See Runtime; loads the network."""
        return self.load().shapes

    @property
    def environment(self) -> Mapping[str, str]:
        """See Runtime; empty until the network is loaded."""
        return self.loaded.environment if self.loaded else {}

    @property
    def batch_size(self) -> int:
        """See Runtime."""
        return self.loaded.batch_size if self.loaded else 1

    @property
    def in_flight(self) -> int:
        """See Runtime."""
        return self.loaded.in_flight if self.loaded else 1

    def start(self, images: Sequence[Pixels]) -> Pending:
        """See Runtime."""
        return self.load().start(images)
