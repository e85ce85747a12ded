"""The upper limit of a run's speed on this machine: each program measures one part and prints one JSON object.

    python -m benchmarks.limits parts BACKBONE RUNTIME PRECISION FOLDER COUNT
        images/s of the network alone, in our own runtime; core-seconds per image of decoding, compressing, hashing
        and checking; and FLOP per image, counted from the layers' shapes
    python -m benchmarks.limits peak
        FLOP/s of a matrix product of 4096 x 4096, by precision and library

A network computes with all cores, and so do decoding and compressing: the limit of a whole run is
1 / (seconds of the network + core-seconds of the rest / cores) images/s.
"""

import hashlib
import json
import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from extract.backbones.table import Backbone, get_backbone
from extract.backbones.weights import Weights
from extract.images.decode import DecodePolicy, without_pillow_limits
from extract.images.loader import ImageLoader, LoadedView
from extract.monitor import Clock
from extract.process_state import quiet_libraries
from extract.runtimes.base import Pixels, Runtime
from extract.runtimes.device import usable_cores
from extract.shard_builder import ShardBuilder, unlabelled
from store.files.opening import open_files
from store.formats import Shard, check_round_trip, get_format
from store.image_records import Failure
from store.recipe import Output

NETWORK_SECONDS = 5.0
MATRIX = 4096
MATRIX_REPEATS = 5


@dataclass(frozen=True)
class Parts:
    """The cost of an image: the rate of the network alone, and core-seconds of everything else."""

    network_images_per_second: float
    flop: int
    decode: float
    compress: float
    hash: float
    check: float

    @property
    def images_per_second(self) -> float:
        """The limit. It leaves out reading shards back to check them, which is our own choice."""
        work = self.decode + self.compress + self.hash
        return 1 / (1 / self.network_images_per_second + work / usable_cores())

    @property
    def network_flops(self) -> float:
        """FLOP/s of the network alone."""
        return self.flop * self.network_images_per_second


@contextmanager
def processor_seconds(into: dict[str, float], name: str) -> Iterator[None]:
    """Measure the processor time that this process, all threads together, spends in the block."""
    start = time.process_time()
    yield
    into[name] = time.process_time() - start


def parts(backbone: Backbone, runtime: str, precision: str, files: list[Path]) -> Parts:
    """Measure all `Parts` on those photographs."""
    spent: dict[str, float] = {}
    images = decoded(backbone, files, spent)
    loaded = load_runtime(backbone, runtime, precision)
    rate = network_alone(loaded, [image.decoded.pixels for image in images])
    output = Output("features", backbone.layer, "none", tuple(loaded.shapes[0]), "float16")
    stored(shard_of(loaded, images, output), output, spent)
    each = {name: seconds / len(files) for name, seconds in spent.items()}
    return Parts(rate, flop(backbone), **each)


def decoded(backbone: Backbone, files: list[Path], spent: dict[str, float]) -> list[LoadedView]:
    """The photographs as a run prepares them: read, hashed, decoded and resized, by a single thread."""
    policy = DecodePolicy(backbone.size, "bilinear", "stretch", (255, 255, 255), 100_000_000)
    loader, clock = ImageLoader(open_files(files[0].parent), policy, None, 1), Clock()
    loader.load(files[0].name, clock)  # Pillow loads its plugins at the first image
    with without_pillow_limits(), processor_seconds(spent, "decode"):
        found = [loader.load(file.name, clock) for file in files]
    return [view for views in found if not isinstance(views, Failure) for view in views]


def load_runtime(backbone: Backbone, runtime: str, precision: str, pooling: str = "none") -> Runtime:
    """The runtime as `extract run` loads it with these options."""
    from extract.runtimes.load import NetworkSpec, load_runtime

    spec = NetworkSpec(
        backbone=backbone,
        weights=Weights.parse("random"),
        image_size=backbone.size,
        layers=(backbone.layer,),
        pooling=pooling,
        dtype="auto",
        precision=precision,
        runtime=runtime,
    )
    return load_runtime(spec)[0]


def network_alone(runtime: Runtime, images: Sequence[Pixels]) -> float:
    """Images/s with pixels in memory and always `runtime.in_flight` calls in progress."""
    pixels = list(images)
    while len(pixels) < runtime.batch_size:
        pixels += pixels
    batch = pixels[: runtime.batch_size]
    runtime.start(batch).result()
    in_progress = deque(runtime.start(batch) for _ in range(runtime.in_flight))
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < NETWORK_SECONDS:
        in_progress.popleft().result()
        done += len(batch)
        in_progress.append(runtime.start(batch))
    rate = done / (time.perf_counter() - start)
    for call in in_progress:
        call.result()
    return rate


def shard_of(runtime: Runtime, images: list[LoadedView], output: Output) -> Shard:
    """The images' features as they would be stored."""
    builder = ShardBuilder(unlabelled([image.row.path for image in images]), [output])
    for start in range(0, len(images), runtime.batch_size):
        batch = images[start : start + runtime.batch_size]
        builder.add(batch, runtime.start([image.decoded.pixels for image in batch]).result())
    return builder.content().shard


def stored(shard: Shard, output: Output, spent: dict[str, float]) -> None:
    """Measure what is done to a shard before it is published."""
    shard_format = get_format("hdf5")
    shard_format.encode(shard, [output], "")  # the first shard loads h5py and its filters
    with processor_seconds(spent, "compress"):
        data = shard_format.encode(shard, [output], "")
    with processor_seconds(spent, "hash"):
        hashlib.sha256(data)
    with processor_seconds(spent, "check"):
        check_round_trip(shard_format, data, shard, [output])
    spent["compress"] -= spent["check"]  # encoding decompresses and compares each row too


def flop(backbone: Backbone) -> int:
    """Floating-point operations per image: twice the multiply-adds of all convolutions and dense layers."""
    with quiet_libraries():
        from extract.backbones.build import build, leaf_layers

        return 2 * sum(multiply_adds(layer) for layer in leaf_layers(build(backbone, backbone.size)))


def multiply_adds(layer: Any) -> int:
    """Multiply-adds per image in one layer: every output position uses each weight that leads to it once."""
    import keras

    if isinstance(layer, keras.layers.SeparableConv2D):
        depthwise, pointwise = layer.depthwise_kernel.shape, layer.pointwise_kernel.shape
        return math.prod(layer.output.shape[1:3]) * (math.prod(depthwise) + math.prod(pointwise))
    if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
        return math.prod(layer.output.shape[1:3]) * math.prod(layer.kernel.shape)
    return math.prod(layer.kernel.shape) if isinstance(layer, keras.layers.Dense) else 0


def peak() -> dict[str, dict[str, float]]:
    """FLOP/s of a matrix product by precision and library; libraries that are not installed are left out."""
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((2, MATRIX, MATRIX), np.float32)
    found: dict[str, dict[str, float]] = {"float32": {}, "bfloat16": {}}
    found["float32"]["numpy"] = _product_flops(lambda: left @ right)
    with quiet_libraries():
        import tensorflow as tf
    first, second = tf.constant(left), tf.constant(right)
    found["float32"]["tensorflow"] = _product_flops(lambda: tf.matmul(first, second).numpy())
    for precision, product in _openvino_products(left, right).items():
        found[precision]["openvino"] = _product_flops(product)
    return found


def _openvino_products(left: Any, right: Any) -> dict[str, Callable[[], object]]:
    """The product by precision; the second matrix is a constant, as a network's weights are."""
    try:
        import openvino
        from openvino import opset13 as ops
    except ImportError:
        return {}
    core = openvino.Core()
    able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    parameter = ops.parameter(left.shape, np.float32)
    model = openvino.Model([ops.matmul(parameter, ops.constant(right), False, False)], [parameter], "product")
    products: dict[str, Callable[[], object]] = {}
    for precision, capability, hint in (("float32", "FP32", "f32"), ("bfloat16", "BF16", "bf16")):
        if capability in able:
            options = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": usable_cores()}
            request = core.compile_model(model, "CPU", options).create_infer_request()
            request.set_input_tensor(openvino.Tensor(left))
            products[precision] = request.infer
    return products


def _product_flops(product: Callable[[], object]) -> float:
    """The best of a few measurements, because a peak is what the machine can do, not what it usually does."""
    product()
    seconds = []
    for _ in range(MATRIX_REPEATS):
        start = time.perf_counter()
        product()
        seconds.append(time.perf_counter() - start)
    return 2 * MATRIX**3 / min(seconds)


def main() -> None:
    """Measure one part."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if sys.argv[1] == "peak":
        print(json.dumps(peak()))
        return
    backbone, runtime, precision, folder, count = sys.argv[2:]
    files = sorted(Path(folder).iterdir())[: int(count)]
    print(json.dumps(asdict(parts(get_backbone(backbone), runtime, precision, files))))


if __name__ == "__main__":
    main()
