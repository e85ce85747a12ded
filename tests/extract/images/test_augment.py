"""Altered views: what is drawn, and what it does to pixels."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extract.images.augment import altered_views
from store.choices import FLIPS
from store.recipe import Augmentation

STILL = {"rotation": 0.0, "shift": 0.0, "shear": 0.0, "zoom": 0.0, "brightness": 0.0, "flip": "none"}
SHA = hashlib.sha256(b"an image").hexdigest()


def picture(height=24, width=32):
    """A smooth picture, no part of it like another."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 / width, y * 255 / height, (x + y) * 255 / (width + height)], axis=-1).astype(np.uint8)


@given(seed=st.integers(0, 5), views=st.integers(1, 4), more=st.integers(0, 3))
def test_a_view_depends_on_seed_image_and_number_alone(seed, views, more):
    few = altered_views(picture(), Augmentation(views, seed), SHA)
    many = altered_views(picture(), Augmentation(views + more, seed), SHA)
    assert all(np.array_equal(one, other) for one, other in zip(few, many, strict=False))
    other_seed = altered_views(picture(), Augmentation(views, seed + 1), SHA)
    other_image = altered_views(picture(), Augmentation(views, seed), SHA[::-1])
    for one, two, three in zip(few, other_seed, other_image, strict=True):
        assert not np.array_equal(one, two)
        assert not np.array_equal(one, three)


@settings(deadline=None)
@given(
    rotation=st.floats(0, 180),
    shift=st.floats(0, 1),
    shear=st.floats(0, 1),
    zoom=st.floats(0, 0.9),
    flip=st.sampled_from(FLIPS),
    seed=st.integers(0, 1000),
)
def test_no_color_comes_from_outside_the_image(rotation, shift, shear, zoom, flip, seed):
    pixels = np.clip(picture(), 100, 150)
    augmentation = Augmentation(2, seed, rotation, shift, shear, zoom, 0.0, flip)
    for view in altered_views(pixels, augmentation, SHA):
        assert view.shape == pixels.shape
        assert view.dtype == np.uint8
        assert view.min() >= 100
        assert view.max() <= 150


def test_nothing_to_alter_leaves_every_pixel():
    for view in altered_views(picture(), Augmentation(5, **STILL), SHA):
        assert np.array_equal(view, picture())


@pytest.mark.parametrize(
    ("flip", "axes"), [("horizontal", [(), (1,)]), ("vertical", [(), (0,)]), ("both", [(), (0,), (1,), (0, 1)])]
)
def test_flips_turn_about_half_of_the_views_over(flip, axes):
    views = altered_views(picture(), Augmentation(200, **{**STILL, "flip": flip}), SHA)
    counts = [sum(np.array_equal(view, np.flip(picture(), axis)) for view in views) for axis in axes]
    assert sum(counts) == 200
    assert min(counts) > 200 / len(axes) * 0.6


def test_a_shift_moves_by_no_more_than_its_fraction_and_repeats_the_edge():
    pixels = np.zeros((20, 20, 3), np.uint8)
    pixels[:, :10] = 200
    edges = [
        int((view[10, :, 0] > 100).sum())
        for view in altered_views(pixels, Augmentation(300, **{**STILL, "shift": 0.2}), SHA)
    ]
    assert min(edges) in (6, 7)
    assert max(edges) in (13, 14)


def test_a_rotation_turns_about_the_middle():
    pixels = np.zeros((41, 41, 3), np.uint8)
    pixels[20, 20:] = 255  # a ray from the middle to the right
    degrees = []
    for view in altered_views(pixels, Augmentation(300, **{**STILL, "rotation": 40.0}), SHA):
        y, x = np.nonzero(view[..., 0] > 60)
        far = np.hypot(y - 20, x - 20) > 10
        degrees.append(np.degrees(np.arctan2((y - 20)[far].mean(), (x - 20)[far].mean())))
        assert view[20, 20, 0] > 60
    assert -42 < min(degrees) < -37
    assert 37 < max(degrees) < 42


def test_zoom_goes_in_and_out():
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[10:30, 10:30] = 255
    areas = [
        (view > 127).mean() * 4 for view in altered_views(pixels, Augmentation(300, **{**STILL, "zoom": 0.2}), SHA)
    ]
    assert 1 / 1.2**2 * 0.9 < min(areas) < 0.8
    assert 1.3 < max(areas) < 1 / 0.8**2 * 1.1


def test_brightness_is_a_factor():
    pixels = np.full((4, 4, 3), 100, np.uint8)
    levels = {
        int(view[0, 0, 0]) for view in altered_views(pixels, Augmentation(300, **{**STILL, "brightness": 0.3}), SHA)
    }
    assert min(levels) in (70, 71)
    assert max(levels) in (129, 130)
    bright = altered_views(pixels + 150, Augmentation(50, **{**STILL, "brightness": 1.0}), SHA)
    assert max(int(view.max()) for view in bright) == 255


def test_the_draws_are_those_of_every_other_machine():
    """Their own bits: a change of these numbers would change features under an unchanged fingerprint."""
    (view,) = altered_views(picture(4, 4), Augmentation(1, brightness=0.1), SHA)
    assert hashlib.sha256(view.tobytes()).hexdigest()[:16] == "a3e0cd1432f468f3"
