"""How often the intervals of `fit curve` cover the truth, by simulation with the product's own functions.

    python -m benchmarks.curve [--pools 1000]

Features are normally distributed around the means of three classes, images by themselves or in groups of about ten
that share a part of the deviation; the head is the nearest mean of a class, by softmax. Numbers are linear in the features,
with noise of which images in groups share a part; the head is ridge regression. In each round training and validation
images are drawn, then the sets of the curve. The truth is the mean over many sets of that size of these training images,
on many other images.
"""

import argparse

import numpy as np
from scipy.special import log_softmax

from fit.curve.estimates import MEASURES
from fit.metrics.intervals import Clusters
from fit.splits import SplitGroups, nested_parts

CLASSES, FEATURES, DRAWS = 3, 20, 5
TRUTH_IMAGES, TRUTH_DRAWS = 20000, 40
SETTINGS = ((60, 60, 0), (240, 114, 0), (240, 400, 0), (240, 400, 40), (1000, 1000, 0), (1000, 1000, 100))
"""Training images, validation images, groups in each (0: images by themselves)."""


def draw_images(count, groups, middles, slopes, rng):
    """Features, classes, numbers, and the group of each image."""
    numbers = np.arange(count) if not groups else np.unique(rng.integers(0, groups, count), return_inverse=True)[1]
    classes = np.arange(numbers.max() + 1) % CLASSES
    of_groups = rng.normal(size=(numbers.max() + 1, FEATURES)) * (0.5 if groups else 0)
    alone = rng.normal(size=(count, FEATURES)) * (np.sqrt(0.75) if groups else 1)
    images = middles[classes[numbers]] + of_groups[numbers] + alone
    noise = 0.5 * rng.normal(size=numbers.max() + 1)[numbers] + np.sqrt(0.75) * rng.standard_t(5, count)
    return images, classes[numbers], images @ slopes + noise, numbers


def learn(images, classes, values):
    """The mean of each class; and the slopes of ridge regression, and its constant."""
    means = np.stack([images[classes == number].mean(axis=0) for number in range(CLASSES)])
    centered = images - images.mean(axis=0)
    slopes = np.linalg.solve(centered.T @ centered + np.eye(FEATURES), centered.T @ values)
    return means, slopes, values.mean() - images.mean(axis=0) @ slopes


def measure(learned, images, classes, values):
    """(images,) each: whether the head of classes is right, its loss, and the error of the head of numbers."""
    means, slopes, constant = learned
    scores = images @ means.T - (means**2).sum(axis=1) / 2
    logs = log_softmax(scores, axis=1)
    rows = np.arange(len(classes))
    right = (scores.argmax(axis=1) == classes).astype(float)
    return {
        "accuracy": right,
        "log_loss": -logs[rows, classes],
        "mean_absolute_error": np.abs(images @ slopes + constant - values),
    }


def fit_draws(train, share, orders, evaluated):
    """(draws, images) of each measure: what heads on parts of the training images make of the evaluated ones."""
    images, classes, values, numbers = train
    every = np.arange(len(classes))
    parts = [nested_parts(every, classes, SplitGroups(numbers, order), (share,), 2)[0] for order in orders]
    found = [measure(learn(images[part], classes[part], values[part]), *evaluated[:3]) for part in parts]
    return {name: np.array([one[name] for one in found]) for name in MEASURES}


def one_round(training, validation, groups, rng):
    """Intervals of half the images, of all, and of the step between them; and the truth of these images."""
    middles = 0.35 * rng.normal(size=(CLASSES, FEATURES))
    slopes = rng.normal(size=FEATURES) / np.sqrt(FEATURES)
    train, validated = (draw_images(count, groups, middles, slopes, rng) for count in (training, validation))
    others = draw_images(TRUTH_IMAGES, 0, middles, slopes, rng)
    orders = [rng.permutation(train[3].max() + 1).astype(np.uint64) for _ in range(TRUTH_DRAWS)]
    clusters = Clusters(validation, validated[3])
    half, whole = fit_draws(train, 0.5, orders[:DRAWS], validated), fit_draws(train, 1.0, orders[:1], validated)
    true_half, true_whole = fit_draws(train, 0.5, orders, others), fit_draws(train, 1.0, orders[:1], others)
    lines = []
    for name, of in MEASURES.items():
        small, large = true_half[name].mean(), true_whole[name].mean()
        shown = name.replace("_", " ")
        lines += [
            (f"{shown}, half", of.mean(half[name], clusters), small),
            (f"{shown}, all", of.mean(whole[name], clusters), large),
            (f"{shown} {of.changed}", of.change(half[name], whole[name], clusters), large - small),
        ]
    return lines


def main():
    """Print a line per setting and interval."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pools", type=int, default=1000)
    given = parser.parse_args()
    print("| training | validation | groups | interval of | given | covered | width |")
    print("|---|---|---|---|---|---|---|")
    for training, validation, groups in SETTINGS:
        rng = np.random.default_rng(0)
        rounds = [one_round(training, validation, groups, rng) for _ in range(given.pools)]
        for name, *_ in rounds[0]:
            found = [(interval, truth) for line in rounds for of, interval, truth in line if of == name]
            known = [(one, truth) for one, truth in found if one.low is not None]
            covered = np.mean([one.low <= truth <= one.high for one, truth in known]) if known else np.nan
            width = np.mean([one.high - one.low for one, _ in known]) if known else np.nan
            print(
                f"| {training} | {validation} | {groups or '-'} | {name} | {len(known) / len(found):.2f} "
                f"| {covered:.3f} | {width:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
