"""Recipes applied to new images: several networks take the same images, each in calls of its own size."""

from dataclasses import dataclass, field

import numpy as np
import pytest

import extract.extractor
from extract.extractor import FeatureExtractor, extract_with_all
from store.recipe import Output
from tests.store.build import make_recipe
from tests.stub import SHAPE, StubRuntime, make_images


@dataclass
class CountingRuntime(StubRuntime):
    """Notes the images of each call, and the most calls that were in progress at once."""

    batch_size: int
    in_flight: int
    calls: list = field(default_factory=list)
    running: int = 0
    most: int = 0

    def __post_init__(self):
        super().__init__(batch_size=self.batch_size)

    def start(self, images):
        pending = super().start(images)
        self.calls.append(len(images))
        self.running += 1
        self.most = max(self.most, self.running)
        return CountedCall(self, pending)


@dataclass
class CountedCall:
    runtime: CountingRuntime
    pending: object

    def result(self):
        self.runtime.running -= 1
        return self.pending.result()


@pytest.fixture
def extractor_of(monkeypatch):
    """An extractor with this runtime, and an output of this name."""

    def make(runtime, name):
        monkeypatch.setattr(extract.extractor, "_runtime_of_weights", lambda *_: runtime)
        recipe = make_recipe(image_size=(16, 16))
        return FeatureExtractor(recipe, [Output(name, "top", "none", SHAPE, "float16")], "imagenet")

    return make


@pytest.fixture
def paths(tmp_path):
    return [str(path) for path in make_images(tmp_path, 50)]


def test_each_of_several_networks_has_calls_of_its_own_size(paths, extractor_of):
    one, sixteen = CountingRuntime(1, 4), CountingRuntime(16, 1)
    extractors = [extractor_of(one, "0"), extractor_of(sixteen, "1")]
    (content,) = extract_with_all(extractors, paths)
    assert (one.calls, one.most) == ([1] * 50, 4)
    assert (sixteen.calls, sixteen.most) == ([16, 16, 16, 2], 1)
    (alone,) = extract_with_all([extractor_of(CountingRuntime(8, 2), "0")], paths)
    for name in ("0", "1"):
        assert np.array_equal(content.shard.tensors[name], alone.shard.tensors["0"])


def test_pixels_take_as_many_calls_as_the_runtime_has_in_progress(extractor_of):
    runtime = CountingRuntime(4, 2)
    pixels = np.random.default_rng(0).integers(0, 256, (10, 16, 16, 3), np.uint8)
    (tensor,) = extractor_of(runtime, "0").extract_pixels(pixels)
    assert (runtime.calls, runtime.most) == ([4, 4, 2], 2)
    assert np.array_equal(tensor, runtime.compute(pixels).astype(np.float16))
