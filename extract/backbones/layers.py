"""Listing the layers that a network can be cut at."""

from dataclasses import dataclass

from extract.backbones.table import get_backbone
from store.progress import SILENT, Reporter


@dataclass(frozen=True)
class CutPoint:
    """A layer and the shape of its output for one image; a layer of a nested model is named `outer/inner`."""

    name: str
    shape: tuple[int, ...]


def list_layers(
    backbone: str, image_size: tuple[int, int] | None = None, reporter: Reporter = SILENT
) -> list[CutPoint]:
    """Every layer that a network can be cut at, in the network's order.

    Args:
        backbone: the network's name.
        image_size: (height, width) in pixels; None for the network's own.
        reporter: with its `debug`, libraries' messages are shown.

    Raises:
        UsageError: there is no such network, or it cannot take images of that size.
    """
    from extract.runtimes.backend import start_keras

    known = get_backbone(backbone)
    start_keras(reporter.debug)
    from extract.backbones.build import build, cut_points

    return [CutPoint(name, shape) for name, shape in cut_points(build(known, image_size or known.size))]
