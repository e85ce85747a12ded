"""The quantized network of a store with the precision int8: what its recipe and store.json say of it, and its file.

Which 8-bit number stands for which value is chosen from images, so other images, or another version of the library that
chooses, give another network. It is therefore made once and kept: `network/<SHA-256>.zip` in a store, and in the folder of
each head on its features. The archive has the model as OpenVINO writes it, model.xml and model.bin, uncompressed.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Self

from store.errors import DamagedStore
from store.files.base import NETWORKS, Files
from store.schema import InvalidField, Range, Sha256, read_fields

_MISSING, _OTHER_BYTES = "is missing", "is not the bytes that gave it its name"


@dataclass(frozen=True)
class Quantization:
    """What a recipe says of its quantized network.

    Attributes:
        network: SHA-256 of its file.
        calibration: SHA-256 of the SHA-256 of the calibration images, in hexadecimal digits, sorted, one a line.
        images: how many images these are.
        rule: the number of the rule that chose them; see `extract.calibration`.
    """

    network: Sha256
    calibration: Sha256
    images: Annotated[int, Range(1)]
    rule: Annotated[int, Range(1)]

    @classmethod
    def from_dict(cls, values: Mapping[str, object], within: str = "") -> Self:
        """The quantization that a recipe has as an object.

        Raises:
            InvalidField: a field is missing, unknown or not what it has to be; its name follows `within`.
        """
        if unknown := set(values) - {"network", "calibration", "images", "rule"}:
            raise InvalidField(f"{within}{min(unknown)} is not known: expected network, calibration, images, rule")
        return read_fields(cls, values, within=within)

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return asdict(self)

    @property
    def sentence(self) -> str:
        """As in `network 0123456789ab…, calibrated on 300 images (rule 1) ba9876543210…`."""
        return (
            f"network {self.network[:12]}…, calibrated on {self.images:,} images (rule {self.rule}) "
            f"{self.calibration[:12]}…"
        )


@dataclass(frozen=True)
class Agreement:
    """How near the int8 features of an output are to the float32 ones, on images that the network was not calibrated on.

    Attributes:
        output: the column's name.
        images: how many.
        median: of the cosines of the two features of an image.
        lowest: of these cosines.
    """

    output: str
    images: Annotated[int, Range(1)]
    median: Annotated[float, Range(-1, 1)]
    lowest: Annotated[float, Range(-1, 1)]

    @property
    def sentence(self) -> str:
        """As in `cosine to float32 0.9953 (median), 0.9712 (lowest) on 75 images that did not calibrate it`."""
        return (
            f"cosine to float32 {self.median:.4f} (median), {self.lowest:.4f} (lowest) on {self.images:,} images that did "
            "not calibrate it"
        )


def network_file(network: str) -> str:
    """The name of the file of a quantized network, by its SHA-256."""
    return f"{NETWORKS}/{network}.zip"


def local_network(files: Files, network: str) -> Path:
    """The file of a quantized network on this machine, its bytes checked.

    Args:
        files: a store, or a head's folder.
        network: SHA-256 of the file.

    Raises:
        DamagedStore: it is missing, or has other bytes.
        EnvironmentFailure: it cannot be read.
    """
    try:
        return files.local_copy(network_file(network))
    except FileNotFoundError:
        raise _damaged(files, network, _MISSING) from None
    except DamagedStore:
        raise _damaged(files, network, _OTHER_BYTES) from None


def require_stored_network(files: Files, network: str) -> None:
    """Read the file of a quantized network where it is stored: a right copy in the cache folder does not count.

    Raises:
        DamagedStore: it is missing, or has other bytes.
        EnvironmentFailure: it cannot be read.
    """
    name = network_file(network)
    if files.status(name) is None:
        raise _damaged(files, network, _MISSING)
    if hashlib.sha256(files.read(name)).hexdigest() != network:
        raise _damaged(files, network, _OTHER_BYTES)


def _damaged(files: Files, network: str, problem: str) -> DamagedStore:
    return DamagedStore(
        f"{files.place(network_file(network))} {problem}: put it back from a copy of the store, or from the "
        "folder of a head on its features"
    )
