"""What users would run instead, with Hugging Face transformers and PyTorch, each program in its own process.

    python -m benchmarks.transformers_rivals make NETWORK FOLDER              writes NETWORK with random weights
    python -m benchmarks.transformers_rivals loop|loader FOLDER PHOTOGRAPHS COUNT float32|bfloat16

`loop` takes one image at a time. `loader` has batches of 32 from a DataLoader with two workers, which decode and
prepare images. Both print {"images_per_second": ...}; the clock starts after the first image or batch.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image

BATCH = 32
WORKERS = 2


def make(network: str, folder: Path) -> None:
    """Write a folder in Hugging Face layout: the published sizes, weights as transformers initializes them."""
    torch.manual_seed(0)
    if network == "dinov2_small":
        config = transformers.Dinov2Config(
            hidden_size=384, num_hidden_layers=12, num_attention_heads=6, image_size=518, patch_size=14
        )
        model, processor = transformers.Dinov2Model(config), transformers.BitImageProcessorPil
        options = {"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}}
    else:
        config = transformers.CLIPVisionConfig(projection_dim=512)
        model, processor = transformers.CLIPVisionModelWithProjection(config), transformers.CLIPImageProcessorPil
        options = {}
    model.save_pretrained(folder)
    processor(**options).save_pretrained(folder)


def load(folder: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    """The network and its image processor."""
    kind = transformers.AutoModel
    if transformers.AutoConfig.from_pretrained(folder).model_type == "clip_vision_model":
        kind = transformers.CLIPVisionModelWithProjection
    return kind.from_pretrained(folder, dtype=dtype).eval(), transformers.AutoImageProcessor.from_pretrained(folder)


def prepare(processor: Any, file: Path) -> torch.Tensor:
    """One image as the network's input, with a batch axis."""
    with Image.open(file) as image:
        return processor(image.convert("RGB"), return_tensors="pt")["pixel_values"]


def with_loop(folder: Path, files: list[Path], dtype: torch.dtype) -> float:
    """One image at a time."""
    model, processor = load(folder, dtype)
    start = 0.0
    with torch.inference_mode():
        for number, file in enumerate(files):
            model(prepare(processor, file).to(dtype))
            if number == 0:
                start = time.perf_counter()
    return (len(files) - 1) / (time.perf_counter() - start)


class Photographs(torch.utils.data.Dataset):
    """Prepared images."""

    def __init__(self, files: list[Path], processor: Any) -> None:
        self.files, self.processor = files, processor

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> torch.Tensor:
        return prepare(self.processor, self.files[number])[0]


def with_loader(folder: Path, files: list[Path], dtype: torch.dtype) -> float:
    """Batches of 32."""
    model, processor = load(folder, dtype)
    loader = torch.utils.data.DataLoader(Photographs(files, processor), batch_size=BATCH, num_workers=WORKERS)
    start, done = 0.0, 0
    with torch.inference_mode():
        for batch in loader:
            model(batch.to(dtype))
            if start:
                done += len(batch)
            else:
                start = time.perf_counter()
    return done / (time.perf_counter() - start)


RIVALS: dict[str, Callable[[Path, list[Path], torch.dtype], float]] = {"loop": with_loop, "loader": with_loader}


def main() -> None:
    """Run one of the programs."""
    transformers.logging.set_verbosity_error()
    name, *arguments = sys.argv[1:]
    if name == "make":
        make(arguments[0], Path(arguments[1]))
        print("{}")
        return
    folder, photographs, count, dtype = arguments
    files = sorted(Path(photographs).iterdir())[: int(count)]
    print(json.dumps({"images_per_second": RIVALS[name](Path(folder), files, getattr(torch, dtype))}))


if __name__ == "__main__":
    main()
