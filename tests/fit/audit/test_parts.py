"""The parts of an audit, on numbers that are made for them."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter

from fit.audit.copies import (
    CopyPairs,
    copy_groups,
    find_copies,
    identical_pairs,
    join_pairs,
)
from fit.audit.findings import (
    BLURRED,
    DARK,
    DUPLICATE,
    FILES,
    KINDS,
    MIRRORED,
    NARROW,
    NEAR_DUPLICATE,
    TINY,
    UNIFORM,
    Finding,
    count_kinds,
    finding_table,
    in_order,
)
from fit.audit.labels import doubt_labels, estimate_joint
from fit.audit.outliers import describe_columns, find_outliers
from fit.audit.pixels import (
    GRID,
    Looks,
    describe_pixels,
    mean_fields,
    odd_findings,
    odd_looks,
    odd_sizes,
    pairs_of_looks,
)
from fit.neighbors import compare_all

# Copies


def pairs(*described):
    columns = list(zip(*described, strict=True)) or [(), (), (), ()]
    kinds = np.array(columns[:3], np.int64)
    return CopyPairs(*kinds, np.array(columns[3], np.float64))


def test_each_file_and_kind_belong_together():
    assert sorted(kind for kinds in FILES.values() for kind in kinds) == sorted(KINDS)


def test_identical_images_are_paired_with_the_first():
    found, first = identical_pairs(["b", "a", "b", "c", "b", "a"])
    assert list(zip(found.first, found.second, strict=True)) == [(0, 2), (0, 4), (1, 5)]
    assert first.tolist() == [0, 1, 3]


def test_a_pair_that_is_found_in_several_ways_is_that_of_the_highest_score():
    joined = join_pairs(pairs((2, 1, 1, 1.0), (0, 1, 2, 0.995)), pairs((1, 2, 0, 1.0), (0, 1, 1, 0.991)))
    assert (joined.first.tolist(), joined.second.tolist()) == ([0, 1], [1, 2])
    assert (joined.how.tolist(), joined.scores.tolist()) == ([2, 0], [0.995, 1.0])


def test_of_a_group_the_image_of_the_test_is_kept_and_the_others_name_their_nearest():
    splits = ["train", "train", "test", "validation", "train", None]
    found = find_copies(pairs((0, 1, 0, 1.0), (1, 2, 1, 0.995), (2, 3, 1, 0.999), (0, 2, 2, 0.999)), splits)
    described = [(copy.row, copy.other, copy.kept, copy.how) for copy in found]
    assert described == [(1, 0, 2, DUPLICATE), (3, 2, 2, NEAR_DUPLICATE), (0, 2, 2, MIRRORED)]
    assert copy_groups(pairs((0, 1, 0, 1.0)), 3).tolist() == [0, 0, 1]


def test_without_pairs_nothing_is_a_copy():
    assert find_copies(pairs(), ["train"] * 3) == []
    assert find_copies(join_pairs(pairs()), []) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11), st.integers(0, 2), st.floats(0.5, 1)), max_size=30))
def test_all_but_one_of_each_group_are_copies(described):
    joined = join_pairs(pairs(*[pair for pair in described if pair[0] != pair[1]]))
    groups = copy_groups(joined, 12)
    found = find_copies(joined, ["train", "test"] * 6)
    assert len(found) == 12 - len(set(groups.tolist()))
    assert len({copy.row for copy in found}) == len(found)
    for copy in found:
        assert groups[copy.row] == groups[copy.kept] == groups[copy.other]
        assert copy.kept not in {other.row for other in found}


# Labels


def test_labels_that_contradict_confident_probabilities_are_suspected():
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    second = np.array([0.1, 0.1, 0.2, 0.97, 0.9, 0.9, 0.8, 0.05])
    doubts = doubt_labels(labels, np.stack([1 - second, second], axis=1))
    # The thresholds are 0.6575 and 0.6625: every image reaches one, and of each label one of four is the other's.
    assert doubts.joint.tolist() == [[3, 1], [1, 3]]
    assert np.flatnonzero(doubts.suspected).tolist() == [3, 7]
    assert doubts.suggested[[3, 7]].tolist() == [1, 0]
    assert doubts.ranking[:2].tolist() == [3, 7]


def test_an_image_counts_for_its_most_probable_class_of_those_reached():
    # Class 2 is more probable for the first image than class 1, but below its own threshold, 0.9.
    labels = np.array([0, 0, 1, 2])
    probabilities = np.array([[0.1, 0.44, 0.46], [0.9, 0.05, 0.05], [0.3, 0.4, 0.3], [0.0, 0.1, 0.9]])
    assert estimate_joint(labels, probabilities).tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert doubt_labels(labels, probabilities).suspected.tolist() == [True, False, False, False]


def test_images_that_reach_no_threshold_are_counted_as_the_others_of_their_label():
    labels = np.array([0, 0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.49, 0.51], [0.2, 0.8], [0.1, 0.9]])
    # 0.53 and 0.85: the second image reaches neither, nor does the third, nor the fourth.
    assert estimate_joint(labels, probabilities).tolist() == [[3, 0], [0, 2]]
    assert not doubt_labels(labels, probabilities).suspected.any()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(5, 60))
def test_the_joint_has_each_label_as_often_as_there_are_images_of_it(seed, classes, count):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, count)])
    probabilities = rng.dirichlet(np.full(classes, 0.4), len(labels))
    doubts = doubt_labels(labels, probabilities)
    counts = np.bincount(labels, minlength=classes)
    sums = doubts.joint.sum(axis=1)
    assert np.all(np.isclose(sums, counts) | (sums == 0))
    assert np.all(doubts.suggested != labels)
    assert np.all(doubts.own[doubts.suspected] < probabilities.max(axis=1)[doubts.suspected])


# Outliers and features


def test_a_row_far_from_all_others_is_an_outlier():
    rng = np.random.default_rng(0)
    features = rng.normal(0, 0.2, (200, 8)).astype(np.float32) + np.eye(8, dtype=np.float32)[0]
    features[17] = -np.eye(8)[0]
    outliers = find_outliers(compare_all(features, 10, 0.999)[0])
    assert outliers.rows[0] == 17
    assert len(outliers.rows) < 5
    assert outliers.distances[17] > outliers.limit > np.median(outliers.distances)


@pytest.mark.parametrize("count", [1, 2, 19])
def test_of_few_images_none_is_called_an_outlier(count):
    features = np.random.default_rng(0).normal(size=(count, 4)).astype(np.float32)
    outliers = find_outliers(compare_all(features, 10, 0.999)[0])
    assert len(outliers.rows) == 0
    assert len(outliers.distances) == count


def test_columns_that_are_the_same_for_every_image_are_named():
    values = np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32)
    values[:, 1], values[:, 3] = 0, 2.5
    columns = describe_columns(np.split(values, 3), 5)
    assert (columns.dead.tolist(), columns.constant.tolist()) == ([1], [3])
    assert np.allclose(columns.mean, values.mean(axis=0), atol=1e-6)


def test_of_one_image_no_feature_is_called_constant():
    columns = describe_columns([np.ones((1, 4), np.float32)], 4)
    assert len(columns.dead) == len(columns.constant) == 0


# Pixels


def photograph(seed, size=224):
    small = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((size, size), Image.Resampling.NEAREST)


def disc():
    image = Image.new("RGB", (224, 224))
    ImageDraw.Draw(image).ellipse((50, 50, 180, 180), "white")
    return image


def looks_of(images):
    pixels = [np.asarray(image.resize((224, 224))) for image in images]
    numbers = np.array([describe_pixels(picture) for picture in pixels], np.float32)
    return Looks(np.arange(len(images)) + 100, np.array([mean_fields(picture) for picture in pixels]), *numbers.T, 0)


def recompressed(image):
    file = io.BytesIO()
    image.resize((100, 100)).save(file, "jpeg", quality=70)
    return Image.open(file)


def test_resized_jpeg_copies_and_mirrored_ones_are_paired():
    images = [photograph(seed) for seed in range(8)]
    images += [recompressed(images[0]), images[1].transpose(Image.Transpose.FLIP_LEFT_RIGHT), images[2].rotate(180)]
    same, mirrored = pairs_of_looks(looks_of(images), 0.99)
    assert list(zip(same.first, same.second, strict=True)) == [(100, 108)]
    assert list(zip(mirrored.first, mirrored.second, strict=True)) == [(101, 109)]
    assert (same.how.tolist(), mirrored.how.tolist()) == ([1], [2])
    assert 0.99 <= same.scores[0] < 1 < 1.00001 + same.scores[0]


def test_images_of_one_color_are_not_copies_of_each_other():
    same, mirrored = pairs_of_looks(looks_of([Image.new("RGB", (50, 50), color) for color in ("red", "blue")]), 0.99)
    assert len(same) == len(mirrored) == 0


@pytest.mark.parametrize(("height", "width"), [(224, 224), (299, 150), (16, 20), (5, 7)])
def test_fields_are_mean_colors(height, width):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    fields = mean_fields(pixels)
    assert fields.shape == (GRID, GRID, 3)
    assert abs(fields.mean()) < 1e-3
    if height == width == 224:
        expected = pixels.reshape(16, 14, 16, 14, 3).mean(axis=(1, 3))
        assert np.allclose(fields, expected - expected.mean(), atol=1e-3)


def test_odd_images_are_named_and_common_oddities_are_not():
    sharp = [photograph(seed) for seed in range(40)]
    images = [
        *sharp,
        Image.new("RGB", (224, 224), "gray"),
        Image.fromarray(np.asarray(sharp[0]) // 12),
        disc().filter(ImageFilter.GaussianBlur(4)),
        disc().filter(ImageFilter.GaussianBlur(4)),
        disc(),
    ]
    enlarged = np.ones(145)
    enlarged[143] = 8  # every image that is made so much larger is smooth
    found = {oddity.kind: oddity.rows.tolist() for oddity in odd_looks(looks_of(images), enlarged)}
    assert found == {UNIFORM: [140], DARK: [141], BLURRED: [142]}
    sizes = odd_sizes(np.array([500, 20, 900, 64]), np.array([400, 300, 100, 16 * 4]))
    assert {oddity.kind: oddity.rows.tolist() for oddity in sizes} == {TINY: [1], NARROW: [1, 2]}
    findings, notes = odd_findings(sizes, 4)
    assert [(finding.row, finding.kind) for finding in findings] == [(1, TINY)]
    assert notes == ["2 of 4 images are narrow: not listed, for so is the data"]


# Findings


def test_findings_are_a_table_with_the_worst_kind_first():
    found = [Finding(1, TINY, "small", 3.0), Finding(0, DUPLICATE, "as b", 1.0, other=1), Finding(2, TINY, "small", 4)]
    ordered = in_order(found)
    assert [finding.kind for finding in ordered] == [DUPLICATE, TINY, TINY]
    assert [finding.row for finding in ordered] == [0, 1, 2]
    rows = finding_table(ordered, ["a", "b", "c"], ["x", None, "y"]).to_pylist()
    assert rows[0] == {
        "path": "a", "kind": DUPLICATE, "reason": "as b", "other": "b", "score": 1.0, "label": "x", "suggested": None,
    }  # fmt: skip
    assert count_kinds(found)[TINY] == 2
    assert count_kinds(found)[MIRRORED] == 0
