import numpy as np
from PIL import Image

from extract.images.decode import BadImage
from extract.images.pixels import read_pixels
from extract.sources.base import image_root
from tests.store.build import make_recipe
from tests.stub import make_images


def test_pixels_come_in_order_with_bad_images_in_their_place(tmp_path):
    paths = make_images(tmp_path, 300)
    names = [str(path.relative_to(tmp_path)) for path in paths]
    paths[3].write_bytes(b"no image")
    paths[4].unlink()
    recipe = make_recipe(image_size=(16, 16))
    read = list(read_pixels(tmp_path, names, recipe))
    assert [number for number, image in enumerate(read) if isinstance(image, BadImage)] == [3, 4]
    assert [read[3].code, read[4].code] == ["not_an_image", "missing"]
    for number in (0, 5, 299):
        assert np.array_equal(read[number], np.asarray(Image.open(paths[number])))


def test_where_images_are_is_told_by_what_was_extracted(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    assert image_root(str(tmp_path)) == str(tmp_path)
    assert image_root(str(tmp_path / "listing.parquet")) == str(tmp_path)
    assert image_root(str(tmp_path / "folder.csv")) == str(tmp_path / "folder.csv")
    assert image_root(r"/data/\xff") == "/data/\udcff"
    assert image_root("s3://bucket/some/listing.csv") == "s3://bucket/some"
