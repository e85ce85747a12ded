"""Downloading a network's ImageNet weights in advance, for offline machines."""

from dataclasses import dataclass
from pathlib import Path

from extract.backbones.table import get_backbone
from extract.backbones.weights import Weights, weights_on_disk
from store.errors import EnvironmentFailure
from store.progress import SILENT, Reporter


@dataclass(frozen=True)
class FetchedWeights:
    """The file with the weights on this machine, and the SHA-256 of its arrays, which recipes name."""

    path: Path
    digest: str


def fetch_weights(backbone: str, reporter: Reporter = SILENT) -> FetchedWeights | None:
    """Download a network's ImageNet weights unless they are on this machine, and check that they fit.

    Args:
        backbone: the network's name.
        reporter: with its `debug`, libraries' messages are shown.

    Returns:
        Where they are; None for a network that has no weights.

    Raises:
        UsageError: there is no such network, or nobody publishes weights of it.
        EnvironmentFailure: they cannot be downloaded.
    """
    from extract.runtimes.backend import start_keras

    known = get_backbone(backbone)
    if known.weights_from == "nowhere":
        return None
    start_keras(reporter.debug)
    from extract.backbones.load import load_network

    _, digest = load_network(known, Weights("imagenet"), known.size)
    path = weights_on_disk(known)
    if path is None:
        raise EnvironmentFailure(
            f"Keras has loaded the weights of {backbone}, but its cache has no file {known.weights_file}: this version of "
            "Keras uses another name; copy its whole folder ~/.keras/models"
        )
    return FetchedWeights(path, digest)
