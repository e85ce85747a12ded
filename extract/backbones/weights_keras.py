"""ImageNet weights that Keras downloads, checks and keeps in a cache of its own."""

import contextlib
import sys

import keras

from extract.backbones.build import build
from extract.backbones.table import DEFAULT_BACKBONE, Backbone
from extract.process_state import socket_timeout
from store.errors import EnvironmentFailure, UsageError

_ANSWER_SECONDS = 20.0


def imagenet_network(
    backbone: Backbone, image_size: tuple[int, int], include_top: bool = False, precision: str = "float32"
) -> keras.Model:
    """The network, built and given its weights by Keras; see `build`.

    Raises:
        UsageError: the network cannot take images of that size.
        EnvironmentFailure: the weights are not on this machine and cannot be downloaded.
    """
    try:
        # Keras shows its download bar on standard output.
        with socket_timeout(_ANSWER_SECONDS), contextlib.redirect_stdout(sys.stderr):
            return build(backbone, image_size, include_top, "imagenet", precision)
    except UsageError:
        raise
    except Exception as error:  # get_file raises a plain Exception
        if "URL fetch failure" not in str(error) and not isinstance(error, OSError):
            raise
        reason = str(error).rpartition("-- ")[2] or str(error)
        raise EnvironmentFailure(
            f"cannot download the ImageNet weights of {backbone.name} ({reason}). Ways out: "
            f"{_way_out(backbone, include_top)}; or use --backbone {DEFAULT_BACKBONE}, whose weights are installed"
        ) from error


def _way_out(backbone: Backbone, include_top: bool) -> str:
    """How to get weights onto a machine without a network: those with the classifier are another file."""
    if include_top:
        return (
            f"run `extract classify IMAGE --backbone {backbone.name}` on a machine with a network and copy "
            f"~/.keras/models/{backbone.classifier_file} here; give a file that has the classifier with --weights FILE"
        )
    return (
        f"run `extract fetch {backbone.name}` on a machine with a network and copy "
        f"~/.keras/models/{backbone.weights_file} here; give a file with --weights FILE"
    )
