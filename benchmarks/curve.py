"""How often the intervals of `fit curve` cover the truth, by simulation with the product's alone functions.

    python -m benchmarks.curve [--pools 1000]

Features are normally distributed around the means of three classes, images by themselves or in groups of about ten
that share a part of the deviation; the head is the nearest mean of a class, by softmax. In each round training and
validation images are drawn, then the sets of the curve. The truth is the mean over many sets of that size of these
training images, on many other images.
"""

import argparse

import numpy as np
from scipy.special import log_softmax

from fit.curve.estimates import accuracy_interval, changed_loss, gained_accuracy, loss_interval
from fit.metrics.intervals import Clusters
from fit.splits import SplitGroups, nested_parts

CLASSES, FEATURES, DRAWS = 3, 20, 5
TRUTH_IMAGES, TRUTH_DRAWS = 4000, 40
SETTINGS = ((60, 60, 0), (240, 114, 0), (240, 400, 0), (240, 400, 40), (1000, 1000, 0), (1000, 1000, 100))
"""Training images, validation images, groups in each (0: images by themselves)."""


def draw_images(count, groups, middles, rng):
    """Features, classes, and the group of each image."""
    numbers = np.arange(count) if not groups else np.unique(rng.integers(0, groups, count), return_inverse=True)[1]
    classes = np.arange(numbers.max() + 1) % CLASSES
    of_groups = rng.normal(size=(numbers.max() + 1, FEATURES)) * (0.5 if groups else 0)
    alone = rng.normal(size=(count, FEATURES)) * (np.sqrt(0.75) if groups else 1)
    return middles[classes[numbers]] + of_groups[numbers] + alone, classes[numbers], numbers


def learn(images, classes):
    """The mean of each class."""
    return np.stack([images[classes == number].mean(axis=0) for number in range(CLASSES)])


def measure(means, images, classes):
    """(images,) each: whether the head of these means is right, and its loss."""
    scores = images @ means.T - (means**2).sum(axis=1) / 2
    logs = log_softmax(scores, axis=1)
    rows = np.arange(len(classes))
    return (scores.argmax(axis=1) == classes).astype(float), -logs[rows, classes]


def fit_draws(train, share, orders, evaluated):
    """(draws, images) each: what heads on parts of the training images make of the evaluated ones."""
    images, classes, numbers = train
    every = np.arange(len(classes))
    parts = [nested_parts(every, classes, SplitGroups(numbers, order), (share,), 2)[0] for order in orders]
    found = [measure(learn(images[part], classes[part]), *evaluated[:2]) for part in parts]
    return np.array([correct for correct, _ in found]), np.array([loss for _, loss in found])


def one_round(training, validation, groups, rng):
    """Intervals of half the images, of all, and of the step between them; and the truth of these images."""
    middles = 0.35 * rng.normal(size=(CLASSES, FEATURES))
    train, validated = (draw_images(count, groups, middles, rng) for count in (training, validation))
    others = draw_images(TRUTH_IMAGES, 0, middles, rng)
    orders = [rng.permutation(train[2].max() + 1).astype(np.uint64) for _ in range(TRUTH_DRAWS)]
    clusters = Clusters(validation, validated[2])
    half, whole = fit_draws(train, 0.5, orders[:DRAWS], validated), fit_draws(train, 1.0, orders[:1], validated)
    true_half, true_whole = fit_draws(train, 0.5, orders, others), fit_draws(train, 1.0, orders[:1], others)
    truth = [values.mean() for values in (*true_half, *true_whole)]
    return [
        ("accuracy, half", accuracy_interval(half[0], clusters), truth[0]),
        ("accuracy, all", accuracy_interval(whole[0], clusters), truth[2]),
        ("accuracy gained", gained_accuracy(half[0], whole[0], clusters), truth[2] - truth[0]),
        ("log loss, half", loss_interval(half[1], clusters), truth[1]),
        ("log loss, all", loss_interval(whole[1], clusters), truth[3]),
        ("log loss changed", changed_loss(half[1], whole[1], clusters), truth[3] - truth[1]),
    ]


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
