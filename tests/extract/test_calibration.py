"""Which images calibrate int8, and how near its features are to those of float32."""

import hashlib
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import extract.calibration as calibration
from extract.calibration import candidates, compare_features, cosine, read_calibration
from extract.images.decode import DecodePolicy
from extract.sources.base import Listing
from extract.sources.listing import list_data
from store.errors import UsageError
from tests.stub import StubRuntime, make_images

POLICY = DecodePolicy((16, 16), "bilinear", "stretch", (255, 255, 255), 10**6)


def listing_of(paths, splits=None):
    return Listing("/data", pa.table({"path": paths, "split": pa.array(splits or [None] * len(paths), pa.string())}))


def by_digest(paths):
    return sorted(paths, key=lambda path: hashlib.sha256(path.encode(errors="surrogatepass")).hexdigest())


@given(st.lists(st.text(min_size=1, max_size=6), unique=True), st.randoms())
def test_the_order_depends_on_the_paths_alone(paths, random):
    shuffled = random.sample(paths, len(paths))
    assert candidates(listing_of(paths)) == candidates(listing_of(shuffled)) == by_digest(paths)


def test_of_many_images_those_of_the_lowest_digests_are_chosen():
    paths = [f"{number}.png" for number in range(5000)]
    assert candidates(listing_of(paths)) == by_digest(paths)[:750]


def test_where_data_has_a_split_train_no_other_image_is_looked_at():
    paths = [f"{number}.png" for number in range(60)]
    splits = ["train", "test", "validation"] * 20
    assert set(candidates(listing_of(paths, splits))) == set(paths[::3])


def test_every_fifth_image_is_held_out_and_none_that_cannot_be_decoded_counts(tmp_path):
    make_images(tmp_path, 30)
    order = candidates(list_data(tmp_path, (), ()))
    for broken in order[3:7]:
        (tmp_path / broken).write_bytes(b"no image")
    found = read_calibration(list_data(tmp_path, (), ()), POLICY, 2)
    sound = order[:3] + order[7:]
    assert [view.row.path for view in found.held_out] == sound[4::5]
    assert [view.row.path for view in found.images] == [path for at, path in enumerate(sound) if at % 5 != 4]
    contents = sorted(hashlib.sha256((tmp_path / view.row.path).read_bytes()).hexdigest() for view in found.images)
    assert found.digest == hashlib.sha256("\n".join(contents).encode()).hexdigest()


def test_no_more_images_are_taken_than_the_rule_says(tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "_IMAGES", 25)
    monkeypatch.setattr(calibration, "_READ_AT_ONCE", 20)
    make_images(tmp_path, 60)
    found = read_calibration(list_data(tmp_path, (), ()), POLICY, 2)
    assert (len(found.images), len(found.held_out)) == (20, 5)


def test_too_few_images_are_refused(tmp_path):
    make_images(tmp_path, 22)
    for path in list(tmp_path.rglob("*.png"))[:3]:
        path.write_bytes(b"no image")
    with pytest.raises(UsageError, match=r"needs 20 images .* 19 can be decoded"):
        read_calibration(list_data(tmp_path, (), ()), POLICY, 2)


numbers = st.floats(-100, 100, width=32, allow_subnormal=False)


@given(arrays(np.float32, (2, 3), elements=numbers), arrays(np.float32, (2, 3), elements=numbers))
def test_a_cosine_is_that_of_the_angle(one, other):
    found = cosine(one, other)
    assert -1 <= found <= 1
    assert found == pytest.approx(cosine(other, one))
    assert cosine(one, one) == 1
    if np.linalg.norm(one) > 1e-3 and np.linalg.norm(other) > 1e-3:
        assert found == pytest.approx(
            np.dot(one.ravel() / np.linalg.norm(one), other.ravel() / np.linalg.norm(other)), abs=1e-4
        )


def test_a_feature_that_is_lost_altogether_has_no_similarity():
    assert cosine(np.ones(3), np.zeros(3)) == 0


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_a_feature_that_is_not_finite_has_no_similarity(value):
    """NaN in store.json would make the store unreadable."""
    assert cosine(np.array([1, value, 2]), np.ones(3)) == cosine(np.ones(3), np.array([value, value, 1])) == 0


class Turned(StubRuntime):
    """Features of the second image alone are others."""

    def compute(self, pixels):
        values = super().compute(pixels)
        return -values if pixels[0, 0, 0, 0] == 200 else values


def test_the_median_and_the_lowest_are_those_of_the_images():
    pixels = [np.full((16, 16, 3), value, np.uint8) for value in (100, 200, 50)]
    views = [SimpleNamespace(decoded=SimpleNamespace(pixels=one)) for one in pixels]
    (found,) = compare_features(StubRuntime(), Turned(), views, ["features"])
    assert (found.output, found.images, found.median, found.lowest) == ("features", 3, 1.0, -1.0)
