"""What altered views buy: test accuracy of heads fitted on few images a class, in N views each.

    python -m benchmarks.augmentation DATA [--seeds N]

DATA is a folder of images, a folder a class. For each seed some images a class are drawn to learn from, the same ones
whatever N is, and all others are the test.
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
        header = ["head", "images a class", *(f"N = {views}" for views in VIEWS), "gain of the last, by seed"]
        rows = []
        for head in HEADS:
            for images in IMAGES:
                say(f"{head}, {images} images a class")
                found = np.array([_accuracies(stores, head, images, seed, folder) for seed in range(arguments.seeds)])
                gains = ", ".join(f"{gain:+.3f}" for gain in found[:, -1] - found[:, 0])
                rows.append([head, str(images), *(f"{value:.3f}" for value in found.mean(axis=0)), gains])
    explained = f"Mean test accuracy over {arguments.seeds} draws of the training images; {arguments.data.name}, {stores[0].recipe.backbone}."
    write_section(TITLE, [circumstances(), "", explained, "", *table(header, rows)])


def _accuracies(stores: list[FeatureStore], head: str, images: int, seed: int, folder: Path) -> list[float]:
    """Test accuracy on each store, of one draw of training images."""
    labels = folder / "labels.csv"
    _write_split(stores[0], labels, images, seed)
    fitted = [fit_head(store, head, labels=labels, seed=seed) for store in stores]
    return [each.metrics["test"]["accuracy"]["value"] for each in fitted]


def _write_split(store: FeatureStore, path: Path, images: int, seed: int) -> None:
    """A table of path, label and split: so many images of each class to learn from, at most half of its images."""
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
