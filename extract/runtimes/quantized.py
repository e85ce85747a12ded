"""Networks in 8 bits, for processors: quantized by NNCF from a network that OpenVINO has in float32, and computed by it.

Convolutions and matrix products take 8-bit weights and activations; what is between them and behind the last stays float32.
"""

import contextlib
import importlib.util
import io
import logging
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import openvino

from extract.process_state import environment
from extract.runtimes.base import Pixels
from extract.runtimes.openvino import OpenvinoRuntime, of_batch, openvino_core
from store.errors import DamagedStore, EnvironmentFailure, UsageError, reason_of
from store.files.names import printable
from store.recipe import Output, Recipe
from store.suggestions import suggest_install

_MODEL, _WEIGHTS = "model.xml", "model.bin"
_MOST_BYTES = 2**32  # of an archive's file; a network is smaller
_ATTENTION = {"Softmax", "ScaledDotProductAttention"}  # before the cut, no other layer has these
# The layers of the largest magnitude of a tensor: see extract.runtimes.base.Computed.
_MAGNITUDE = ["Abs", "ReduceMax", "IsFinite"]


def require_nncf() -> None:
    """Raise UsageError unless NNCF is installed."""
    if importlib.util.find_spec("nncf") is None:
        raise UsageError(
            f"--precision int8 is prepared by NNCF, which is not installed: {suggest_install('stillframe[int8]')}"
        )


def quantize(network: openvino.Model, images: Sequence[Pixels]) -> bytes:
    """The file of a quantized network (`store.quantization`).

    Args:
        network: from uint8 pixels (batch, height, width, 3) to [tensor, largest magnitude] of each output.
        images: what its ranges are measured on, each (height, width, 3).

    Raises:
        UsageError: NNCF cannot quantize it.
    """
    attention = not _ATTENTION.isdisjoint(node.get_type_name() for node in network.get_ops())
    with _quiet_nncf() as nncf:
        dataset = nncf.Dataset([image[np.newaxis] for image in images])
        try:
            quantized = nncf.quantize(
                network,
                dataset,
                subset_size=len(images),
                target_device=nncf.TargetDevice.CPU,
                model_type=nncf.ModelType.TRANSFORMER if attention else None,
                ignored_scope=nncf.IgnoredScope(types=_MAGNITUDE, validate=False),
                # The fix is for processors without VNNI, which are refused; it would cost EfficientNet-Lite0 a hundredth.
                advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.DISABLE),
            )
        except Exception as error:  # nearly any kind
            raise UsageError(
                f"NNCF cannot quantize the network ({reason_of(error)}): choose another --precision"
            ) from error
    return _packed(quantized)


@contextlib.contextmanager
def _quiet_nncf() -> Iterator[ModuleType]:
    """NNCF, which prints its progress on standard output, reports its use over the network and replaces the class of loggers."""
    loggers = logging.getLoggerClass()
    with environment(NNCF_CI="1"), contextlib.redirect_stdout(io.StringIO()):
        try:
            import nncf
        finally:
            logging.setLoggerClass(loggers)
        nncf.set_log_level(logging.ERROR)
        yield nncf


def _packed(network: openvino.Model) -> bytes:
    """A model as the archive that is stored. Nodes and outputs are named by their order: OpenVINO's own names have the
    numbers of a counter of the process, so that the same network would have other bytes each time.
    """
    for number, node in enumerate(network.get_ordered_ops()):
        node.set_friendly_name(f"{node.get_type_name()}_{number}")
    for number, output in enumerate(network.outputs):
        output.get_tensor().set_names({f"output_{number}"})
    archive = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(archive, "w") as files:
        openvino.save_model(network, Path(folder) / _MODEL, compress_to_fp16=False)
        for name in (_MODEL, _WEIGHTS):
            files.writestr(zipfile.ZipInfo(name), (Path(folder) / name).read_bytes())
    return archive.getvalue()


def quantized_runtime(
    file: Path | bytes, recipe: Recipe, outputs: Sequence[Output], batch_size: int = 1
) -> OpenvinoRuntime:
    """The runtime of a recipe's quantized network.

    Args:
        file: the archive, or its path; its bytes have been checked against the recipe.
        recipe: what the network has to compute.
        outputs: which of the recipe's columns to compute.
        batch_size: images per call, where the network leaves that open.

    Raises:
        DamagedStore: the file is not such an archive, or its network is of another recipe.
        UsageError: the same of an archive that was just made (`file` is bytes).
        EnvironmentFailure: this machine cannot load the network.
    """
    try:
        network = _with_outputs(_read(file), recipe, outputs)
        if network.input().partial_shape[0].is_dynamic:
            of_batch(network, batch_size)
        _require_fit(network, recipe, outputs)
    except (zipfile.BadZipFile, EOFError, LookupError, RuntimeError, ValueError) as error:
        if isinstance(file, bytes):
            raise UsageError(
                f"the quantized network cannot be computed ({reason_of(error)}): choose another --precision than int8"
            ) from error
        raise DamagedStore(
            f"{printable(str(file))} is not the quantized network of its recipe ({reason_of(error)}): its bytes are those "
            "that the recipe names, so it was made like that; extract the features again into a new store"
        ) from error
    try:
        return OpenvinoRuntime(network, "float32", {})
    except RuntimeError as error:
        raise EnvironmentFailure(
            f"OpenVINO cannot load the quantized network on this machine ({reason_of(error)}): make memory free, or use "
            "another machine"
        ) from error


def _with_outputs(network: openvino.Model, recipe: Recipe, outputs: Sequence[Output]) -> openvino.Model:
    """The network with the outputs of these columns alone."""
    results = network.get_results()
    if len(results) != 2 * len(recipe.layers):
        raise ValueError(f"expected {2 * len(recipe.layers)} outputs, found {len(results)}")
    numbers = [recipe.layers.index(output.layer) for output in outputs]
    chosen = [results[2 * number + part] for number in numbers for part in (0, 1)]
    return openvino.Model(chosen, network.get_parameters(), "stillframe")


def _require_fit(network: openvino.Model, recipe: Recipe, outputs: Sequence[Output]) -> None:
    """Raise ValueError unless the network takes the recipe's pixels and gives [tensor, largest magnitude] of each output."""
    images = network.input().shape[0]
    expected: list[tuple[str, tuple[int, ...]]] = [("uint8", (images, *recipe.image_size, 3))]
    for output in outputs:
        expected += [(output.dtype, (images, *output.shape)), ("float32", (images,))]
    for (dtype, shape), port in zip(expected, (*network.inputs, *network.outputs), strict=True):
        found = (port.get_element_type().to_dtype().name, tuple(port.shape))
        if found != (dtype, shape):
            raise ValueError(f"expected {dtype} {shape}, found {found[0]} {found[1]}")


def _read(file: Path | bytes) -> openvino.Model:
    with zipfile.ZipFile(io.BytesIO(file) if isinstance(file, bytes) else file) as files:
        entries = [files.getinfo(name) for name in (_MODEL, _WEIGHTS)]
        if any(entry.compress_type != zipfile.ZIP_STORED or entry.file_size > _MOST_BYTES for entry in entries):
            raise zipfile.BadZipFile("an entry is compressed, or longer than any network")
        model, weights = (files.read(entry) for entry in entries)
    return openvino_core().read_model(model, openvino.Tensor(np.frombuffer(weights, np.uint8)))
