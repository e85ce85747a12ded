"""The gain from altered views: test accuracy of heads fitted on few images per class, in N views each.

    python -m benchmarks.augmentation DATA [--seeds N]

DATA is a folder of images with one folder per class. For each seed a few training images per class are drawn, the same
ones for every N, and all others are the test set.
"""

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from benchmarks.measure import circumstances, say, scratch, table, write_section
from extract import extract
from fit import fit_head
from store import FeatureStore, open_store

TITLE = "Augmentation"
VIEWS = (0, 4, 16)
IMAGES = (5, 15)
HEADS = ("logistic", "dense")


def main() -> None:
    """Extract once for each number of views, fit, and write the section."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.augmentation", description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    with scratch() as folder:
        for views in VIEWS:
            extract(arguments.data, folder / f"store{views}", pooling="avg", augment=views)
        stores = [open_store(folder / f"store{views}") for views in VIEWS]
        header = ["head", "images per class", *(f"N = {views}" for views in VIEWS), "gain of the last N, by seed"]
        rows = []
        for head in HEADS:
            for images in IMAGES:
                say(f"{head}, {images} images per class")
                accuracies = np.array(
                    [_accuracies(stores, head, images, seed, folder) for seed in range(arguments.seeds)]
                )
                gains = ", ".join(f"{gain:+.3f}" for gain in accuracies[:, -1] - accuracies[:, 0])
                rows.append([head, str(images), *(f"{value:.3f}" for value in accuracies.mean(axis=0)), gains])
    explanation = f"Mean test accuracy over {arguments.seeds} draws of the training images; {arguments.data.name}, {stores[0].recipe.backbone}."
    write_section(TITLE, [circumstances(), "", explanation, "", *table(header, rows)])


def _accuracies(stores: list[FeatureStore], name: str, images: int, seed: int, folder: Path) -> list[float]:
    """Test accuracy on each store, for one draw of training images."""
    labels = folder / "labels.csv"
    _write_split(stores[0], labels, images, seed)
    fitted = [fit_head(store, name, labels=labels, seed=seed, evaluate_test=True) for store in stores]
    return [head.metrics["test"]["accuracy"]["value"] for head in fitted]


def _write_split(store: FeatureStore, path: Path, images: int, seed: int) -> None:
    """Write a table of path, label and split: `images` training images of each class, but at most half of the class."""
    rng = np.random.default_rng(seed)
    rows = store.images().select(["path", "label"])
    classes = np.array(rows["label"].to_pylist())
    split = np.full(len(rows), "test", object)
    for name in np.unique(classes):
        members = np.flatnonzero(classes == name)
        split[rng.permutation(members)[: min(images, len(members) // 2)]] = "train"
    pyarrow.csv.write_csv(rows.append_column("split", pa.array(split, pa.string())), path)


if __name__ == "__main__":
    main()
