import pytest

from store.recipe import Output
from tests.store.build import Image, SmallStore

LAYERS = (Output("early", "conv", "avg", (5,), "float32"), Output("late", "top", "avg", (7,), "float16"))


@pytest.fixture
def layered(tmp_path):
    """The folder, of a hostile name, of a store of two layers of the images of `colors`; its features say nothing."""
    folder = tmp_path / "\"><script>alert('store')<"
    paths = [f"{name}/{number:03d}.png" for name in ("blue", "green", "red") for number in range(20)]
    images = {path: Image(path, path.partition("/")[0]) for path in paths}
    SmallStore(folder, LAYERS).update(images, images_per_shard=16)
    return folder
