"""Options of a run: defaults, what is refused, and the small functions that parse and choose."""

import json
from dataclasses import asdict

import pytest

from extract.durations import parse_duration
from extract.request import (
    RunOptions,
    automatic_batch_size,
    parse_image_size,
    parse_part,
    parse_scheduler,
)
from store.errors import UsageError


def test_defaults_are_those_of_the_command_line():
    options = RunOptions("data")
    assert (options.out, options.backbone, options.weights) == ("store", "efficientnet_lite0", "imagenet")
    assert (options.pooling, options.background) == ("none", "white")
    assert (options.resize, options.crop) == (None, None)  # the network's: bilinear and stretch, or its preprocessing's
    assert (options.format, options.dtype, options.max_bad, options.max_pixels) == ("auto", "auto", 0.05, 100_000_000)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("pooling", "mean", "--pooling is 'mean': expected one of none, avg, max"),
        ("resize", "box", "--resize is 'box': expected one of bilinear, nearest, bicubic, lanczos, area"),
        ("crop", "middle", "--crop is 'middle': expected one of stretch, center, pad"),
        ("format", "npy", "--format is 'npy': expected one of auto, hdf5, parquet"),
        ("dtype", "int8", "--dtype is 'int8': expected one of auto, float16, float32"),
        ("background", "whiteish", "unknown color 'whiteish'"),
        ("batch_size", 0, "--batch-size is 0: expected 1 or more"),
        ("workers", -1, "--workers is -1: expected 1 or more"),
        ("batch_size", 4097, "--batch-size is 4097: expected 4,096 at most, or auto"),
        ("workers", "100000", "--workers is 100000: expected 1,024 at most, or auto"),
        (
            "image_size",
            "99999",
            "--image-size is '99999': expected N or HxW in pixels, as in 224 or 240x320, 4,096 at most",
        ),
        (
            "image_size",
            (224, 4097),
            "--image-size is (224, 4097): expected N or HxW in pixels, as in 224 or 240x320, 4,096 at most",
        ),
        ("shard_rows", 0, "--shard-rows is 0: expected 1 or more"),
        ("limit", 0, "--limit is 0: expected 1 or more"),
        ("max_pixels", 0, "--max-pixels is 0: expected 1 or more"),
        ("max_bad", 1.5, "--max-bad is 1.5: expected a fraction from 0 to 1"),
        ("max_bad", -0.1, "--max-bad is -0.1"),
        ("max_bad", float("nan"), "--max-bad is nan"),
        ("augment", -1, "--augment is -1: expected a number of views from 0 to 1,000"),
        ("seed", -1, "--seed is -1: expected 0 or more"),
        ("flip", "sideways", "--flip is 'sideways': expected one of none, horizontal, vertical, both"),
        ("rotation", 200, "--rotation is 200: expected a range from 0 to 180"),
        ("zoom", 1, "--zoom is 1: expected a range from 0 to 0.9"),
        ("shift", float("nan"), "--shift is nan"),
        ("rotation", 20, "--rotation is for altered views: say how many with --augment N"),
        ("flip", "none", "--flip is for altered views"),
        ("layer", ("mixed5", "mixed5"), "--layer names the same layer twice"),
        ("part", (4, 4), "--part is 4/4: expected I/N, I from 0 to N - 1"),
        ("part", (0, 0), "--part is 0/0"),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_flag(option, value, said):
    with pytest.raises(UsageError) as caught:
        RunOptions("data", **{option: value})
    assert said in str(caught.value)


@pytest.mark.parametrize(("option", "value"), [("max_bad", 0), ("max_bad", 1), ("batch_size", 1), ("limit", None)])
def test_the_ends_of_a_range_are_taken(option, value):
    assert getattr(RunOptions("data", **{option: value}), option) == value


@pytest.mark.parametrize(
    ("text", "size"),
    [("224", (224, 224)), ("240x320", (240, 320)), ("240X320", (240, 320)), ("1", (1, 1))],
)
def test_an_image_size_is_n_or_height_by_width(text, size):
    assert parse_image_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "x", "224x", "x224", "0", "224x0", "-224", "2.5", "1x2x3", "224 x 224", "big", "1x99999"]
)
def test_anything_else_is_no_image_size(text):
    with pytest.raises(UsageError, match="--image-size"):
        parse_image_size(text)


@pytest.mark.parametrize(
    ("size", "batch"), [((32, 32), 32), ((224, 224), 32), ((299, 299), 32), ((598, 598), 8), ((9999, 9999), 1)]
)
def test_larger_images_come_in_smaller_batches(size, batch):
    assert automatic_batch_size(size) == batch


def test_a_gpu_takes_larger_batches():
    assert automatic_batch_size((224, 224), on_gpu=True) == 128


def test_whole_numbers_and_others_are_one_recipe():
    whole, broken = (RunOptions("data", augment=2, rotation=value).augmentation for value in (30, 30.0))
    assert json.dumps(asdict(whole)) == json.dumps(asdict(broken))
    assert RunOptions("data", seed=3).augmentation is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("1.5m", 90), ("30m", 1800), ("8h", 28800), ("2d", 172800), ("7:30:00", 27000)],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0s", "-5m", "5 m", "h", "1:70:00", "1h30m", "nan", "soon"])
def test_a_duration_that_is_none_is_refused(text):
    with pytest.raises(UsageError, match=r"--max-runtime is .*: expected a time above 0"):
        parse_duration(text)


def test_parts():
    assert parse_part("3/16") == (3, 16)
    for text in ("3", "/", "1/", "a/b", "-1/4", "1/2/3"):
        with pytest.raises(UsageError, match=r"--part is .*: expected I/N"):
            parse_part(text)


@pytest.mark.parametrize("scheduler", ["here", "local:0", "local:two", "file:", "tcp:host", "http://host:1"])
def test_a_scheduler_that_is_none_is_said_before_anything_is_done(scheduler):
    with pytest.raises(UsageError, match="expected tcp://HOST:PORT, file:PATH or local:N"):
        RunOptions("data", scheduler=scheduler)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("tcp://10.0.0.1:8786", ("tcp", "//10.0.0.1:8786")),
        ("tls://host:1", ("tls", "//host:1")),
        ("file:/shared/scheduler.json", ("file", "/shared/scheduler.json")),
        ("local:4", ("local", "4")),
    ],
)
def test_what_a_scheduler_is(text, found):
    assert parse_scheduler(text) == found
