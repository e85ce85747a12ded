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


class SlottedRuntime(CountingRuntime):
    """Takes no more calls than it has slots, as OpenVINO's does; its call or start of that number fails, once."""

    failing_result = failing_start = None

    def start(self, images):
        if self.running == self.in_flight:
            raise IndexError("pop from an empty deque")
        if len(self.calls) == self.failing_start:
            self.failing_start = None
            raise RuntimeError("no start")
        call = super().start(images)
        if len(self.calls) - 1 == self.failing_result:
            call.pending = FailedCall()
        return call


class FailedCall:
    def result(self):
        raise RuntimeError("no result")


@pytest.mark.parametrize("fails", ["failing_result", "failing_start"])
@pytest.mark.parametrize("number", [0, 2, 3])
@pytest.mark.parametrize("which", [0, 1])
def test_runtimes_can_be_used_again_after_a_failed_call(paths, extractor_of, fails, number, which):
    runtimes = [SlottedRuntime(4, 3), SlottedRuntime(2, 3)]
    extractors = [extractor_of(runtime, str(name)) for name, runtime in enumerate(runtimes)]
    setattr(runtimes[which], fails, number)
    with pytest.raises(RuntimeError, match=r"no result|no start"):
        list(extract_with_all(extractors, paths))
    assert [runtime.running for runtime in runtimes] == [0, 0]
    (content,) = extract_with_all(extractors, paths)
    assert len(content.shard.tensors["0"]) == len(content.shard.tensors["1"]) == 50


def test_pixels_can_be_extracted_after_a_failed_call(extractor_of):
    runtime = SlottedRuntime(4, 2)
    extractor = extractor_of(runtime, "0")
    runtime.failing_result = 0
    pixels = np.zeros((20, 16, 16, 3), np.uint8)
    with pytest.raises(RuntimeError, match="no result"):
        extractor.extract_pixels(pixels)
    assert len(extractor.extract_pixels(pixels)[0]) == 20
