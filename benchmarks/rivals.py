"""What users would run instead of `extract run`, as in tutorials: three programs, each in its own process.

    python -m benchmarks.rivals loop|directory|torch BACKBONE FOLDER COUNT

Prints {"images_per_second": ...}. The clock starts after the first image or batch, to leave out start-up and tracing.
The networks have the same random weights as ours. Keras' own initialization would make features so small that a CPU
computes them more slowly than real ones.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from extract.backbones.table import Backbone, get_backbone
from extract.process_state import quiet_libraries

BATCH = 32
TORCH_WORKERS = 2


def load(backbone: Backbone) -> Any:
    """The network, and the function of keras.applications that preprocesses its pixels."""
    with quiet_libraries():
        import keras

        from extract.backbones.load import load_network
        from extract.backbones.weights import Weights

        network, _ = load_network(backbone, Weights.parse("random"), backbone.size)
    if backbone.preprocessing == "inside":
        return network, lambda pixels: pixels
    return network, partial(keras.applications.imagenet_utils.preprocess_input, mode=backbone.preprocessing)


def with_loop(backbone: Backbone, files: list[Path]) -> float:
    """One image at a time through `model.predict`."""
    import keras

    network, preprocess_input = load(backbone)
    start = 0.0
    for number, file in enumerate(files):
        image = keras.utils.load_img(file, target_size=backbone.size)
        pixels = np.expand_dims(keras.utils.img_to_array(image), axis=0)
        network.predict(preprocess_input(pixels), verbose=0)
        if number == 0:
            start = time.perf_counter()
    return (len(files) - 1) / (time.perf_counter() - start)


def with_directory(backbone: Backbone, files: list[Path]) -> float:
    """`image_dataset_from_directory`, prefetched, through `model.predict`."""
    import keras
    import tensorflow as tf

    class Stopwatch(keras.callbacks.Callback):
        ends: ClassVar[list[float]] = []

        def on_predict_batch_end(self, *_: Any, **__: Any) -> None:
            self.ends.append(time.perf_counter())

    network, preprocess_input = load(backbone)
    images = keras.utils.image_dataset_from_directory(
        files[0].parent, labels=None, batch_size=BATCH, image_size=backbone.size, shuffle=False, verbose=False
    )
    batches = len(files) // BATCH  # only full ones, so that nothing is traced twice
    prepared = images.take(batches).map(preprocess_input, num_parallel_calls=tf.data.AUTOTUNE)
    # Trace first. Otherwise the pipeline would decode ahead during the tracing, before the clock starts.
    network.predict(np.zeros((BATCH, *backbone.size, 3), np.float32), verbose=0)
    network.predict(prepared.prefetch(tf.data.AUTOTUNE), verbose=0, callbacks=[Stopwatch()])
    return (batches - 1) * BATCH / (Stopwatch.ends[-1] - Stopwatch.ends[0])


def with_torch(backbone: Backbone, files: list[Path]) -> float:
    """A PyTorch `DataLoader` that decodes and resizes with Pillow, and the same network under PyTorch."""
    os.environ["KERAS_BACKEND"] = "torch"
    import torch
    from PIL import Image

    network, preprocess_input = load(backbone)
    height, width = backbone.size

    class Photographs(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(files)

        def __getitem__(self, number: int) -> torch.Tensor:
            with Image.open(files[number]) as image:
                resized = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
            return torch.from_numpy(np.asarray(preprocess_input(np.asarray(resized, np.float32))))

    loader = torch.utils.data.DataLoader(Photographs(), batch_size=BATCH, num_workers=TORCH_WORKERS)
    start, done = 0.0, 0
    with torch.inference_mode():
        for batch in loader:
            network(batch, training=False)
            if start:
                done += len(batch)
            else:
                start = time.perf_counter()
    return done / (time.perf_counter() - start)


RIVALS: dict[str, Callable[[Backbone, list[Path]], float]] = {
    "loop": with_loop,
    "directory": with_directory,
    "torch": with_torch,
}


def main() -> None:
    """Run one of the programs on the first COUNT files of a folder."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    name, backbone, folder, count = sys.argv[1:]
    files = sorted(Path(folder).iterdir())[: int(count)]
    print(json.dumps({"images_per_second": RIVALS[name](get_backbone(backbone), files)}))


if __name__ == "__main__":
    main()
