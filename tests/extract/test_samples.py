"""Sample images: how many, how labelled, the same every time."""

import sys
from collections import Counter

import numpy as np
import pytest
import skimage
from PIL import Image
from sklearn.datasets import load_digits

from extract.samples import SAMPLES, write_samples
from extract.sources.listing import list_data
from store.errors import EnvironmentFailure, UsageError


def test_digits_are_a_folder_a_class_of_small_png_files(tmp_path):
    assert write_samples("digits", tmp_path / "new" / "digits") == 1797
    listing = list_data(tmp_path / "new" / "digits")
    assert len(listing) == 1797
    assert listing.others == 0
    assert sorted(set(listing.table["label"].to_pylist())) == list("0123456789")


def test_a_digit_is_the_data_sets_own_image_in_grey(tmp_path):
    write_samples("digits", tmp_path)
    digits = load_digits()
    for number in (0, 1, 1796):
        with Image.open(tmp_path / str(digits.target[number]) / f"{number:04d}.png") as image:
            assert image.mode == "L"
            levels = np.asarray(image) * (16 / 255)
        assert np.array_equal(np.round(levels), digits.images[number])


def test_textures_are_photographs_cut_into_patches_and_no_split_has_a_part_of_another(tmp_path):
    assert write_samples("textures", tmp_path) == 768
    table = list_data(tmp_path).table
    counts = Counter(zip(table["split"].to_pylist(), table["label"].to_pylist(), strict=True))
    expected = {("train", 96), ("validation", 80), ("test", 80)}
    assert counts == {(split, name): n for split, n in expected for name in ("brick", "grass", "gravel")}
    for name in ("brick", "grass", "gravel"):
        whole = np.zeros((512, 512), np.uint8)
        columns = {}
        for path in tmp_path.glob(f"*/{name}/*.png"):
            row, column = (int(part) for part in path.stem.split("-"))
            with Image.open(path) as image:
                whole[row * 32 : row * 32 + 32, column * 32 : column * 32 + 32] = np.asarray(image)
            columns.setdefault(column, set()).add(path.parent.parent.name)
        assert np.array_equal(whole, getattr(skimage.data, name)())
        assert all(len(splits) == 1 for splits in columns.values())


def test_textures_without_scikit_image_name_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(UsageError, match=r"textures come with scikit-image: `.*pip install 'stillframe\[samples\]'`"):
        write_samples("textures", tmp_path)


def test_photos_are_two_photographs(tmp_path):
    assert write_samples("photos", tmp_path) == 2
    for path in tmp_path.iterdir():
        with Image.open(path) as image:
            assert (image.format, image.size) == ("JPEG", (640, 427))


def test_writing_again_writes_the_same_bytes(tmp_path):
    write_samples("photos", tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write_samples("photos", tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_that_holds_another_sample_is_refused_and_left_as_it_is(tmp_path):
    write_samples("photos", tmp_path / "images")
    with pytest.raises(UsageError, match=r"images holds other images than digits \(china.jpg\): choose another DIR"):
        write_samples("digits", tmp_path / "images")
    assert sorted(path.name for path in (tmp_path / "images").rglob("*")) == ["china.jpg", "flower.jpg"]
    (tmp_path / "images" / "flower.jpg").unlink()
    (tmp_path / "images" / "README.txt").write_text("two photographs")
    assert write_samples("photos", tmp_path / "images") == 2


def test_an_unknown_sample_is_refused_by_name(tmp_path):
    with pytest.raises(UsageError, match="unknown sample 'cats': choose digits, textures or photos"):
        write_samples("cats", tmp_path)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_folder_that_cannot_be_made_is_the_environments_fault(tmp_path, name):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(EnvironmentFailure, match="cannot write to"):
        write_samples(name, tmp_path / "file" / "samples")
