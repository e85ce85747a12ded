"""The loop, with a runtime that is slow, out of step or short of memory: rows keep their order and their pixels."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extract.images.decode import Decoded
from extract.images.loader import LoadedView
from extract.monitor import Clock, Monitor
from extract.pipeline import run_pipeline
from extract.runtimes.base import Computed
from extract.shard_builder import unlabelled
from store.errors import StoppedEarly
from store.image_records import Failure, Row
from store.recipe import Output

SICK = 255
"""The pixel of an image that the network makes NaN of."""

OUTPUT = Output("features", "x", "none", (1,), "float32")


class Echo:
    """Gives each image's first pixel back, its calls done in any order; notes how many ran at once at most."""

    shapes = ((1,),)
    environment: ClassVar = {}

    def __init__(self, batch_size, in_flight, seconds=lambda: 0.0):
        self.batch_size = batch_size
        self.in_flight = in_flight
        self.most = self.now = 0
        self.calls = []
        self._seconds = seconds
        self._pool = ThreadPoolExecutor(in_flight)

    def start(self, images):
        assert 0 < len(images) <= self.batch_size
        self.calls.append(len(images))
        self.now += 1
        self.most = max(self.most, self.now)
        values = np.array([[image[0, 0, 0]] for image in images], np.float32)
        values[values == SICK] = np.nan
        future = self._pool.submit(time.sleep, self._seconds())
        return _Echoed(self, future, values)


class _Echoed:
    def __init__(self, runtime, future, values):
        self.runtime, self.future, self.values = runtime, future, values

    def result(self):
        self.future.result()
        self.runtime.now -= 1
        return Computed([self.values], [self.values[:, 0]])


def load(path, _clock=None):
    number = int(path.split("-")[0])
    if path.endswith("bad"):
        return Failure(path, "bad", "it is bad")
    return [LoadedView(Row(path, "", 0, 0), Decoded(np.full((1, 1, 3), number % 251, np.uint8), 1, 1))]


@dataclass
class Sink:
    """Keeps what it is given."""

    outputs: tuple = (OUTPUT,)
    finished: list = field(default_factory=list)

    def check(self, refused):
        pass

    def pack(self, tensor):
        return None

    def finish(self, group, content):
        self.finished.append(group)
        return content.shard, content.failures.to_pylist()


def loader(load, threads=2):
    return SimpleNamespace(load=load, threads=threads)


def collected(groups, runtime, workers=2, stop=None, load=load, clock=None):
    monitor = Monitor(clock=clock or Clock(), stop=stop or threading.Event())
    return list(run_pipeline(groups, loader(load, workers), runtime, Sink(), monitor))


@settings(deadline=None, max_examples=60)
@given(
    shards=st.lists(st.lists(st.booleans(), min_size=1, max_size=9), max_size=5),
    batch_size=st.integers(1, 5),
    in_flight=st.integers(1, 4),
    workers=st.integers(1, 3),
)
def test_every_image_is_a_row_or_a_failure_in_order_whatever_the_batches(shards, batch_size, in_flight, workers):
    numbers = iter(range(1000))
    named = [[f"{next(numbers)}-{'good' if good else 'bad'}" for good in shard] for shard in shards]
    groups = [unlabelled(paths) for paths in named]
    rng = np.random.default_rng(0)
    runtime = Echo(batch_size, in_flight, seconds=lambda: rng.random() / 2000)
    results = collected(groups, runtime, workers)
    assert len(results) == len(named)
    for paths, (shard, failures) in zip(named, results, strict=True):
        assert shard.rows["path"].to_pylist() == [path for path in paths if path.endswith("good")]
        assert [failure["path"] for failure in failures] == [path for path in paths if path.endswith("bad")]
        expected = [int(path.split("-")[0]) % 251 for path in shard.rows["path"].to_pylist()]
        assert shard.tensors["features"][:, 0].tolist() == expected
    assert runtime.most <= in_flight


@settings(deadline=None, max_examples=60)
@given(
    shards=st.lists(st.lists(st.sampled_from(["good", "bad", "sick"]), min_size=1, max_size=6), max_size=4),
    views=st.integers(1, 4),
    sick_view=st.integers(0, 3),
    batch_size=st.integers(1, 7),
)
def test_an_image_has_all_of_its_views_or_none(shards, views, sick_view, batch_size):
    def load_views(path, _clock):
        loaded = load(path)
        if isinstance(loaded, Failure):
            return loaded
        (image,) = loaded
        shown = [np.full((1, 1, 3), image.decoded.pixels[0, 0, 0] + view, np.uint8) for view in range(views)]
        if path.endswith("sick"):
            shown[sick_view % views][:] = SICK
        return [LoadedView(image.row, Decoded(pixels, 1, 1), view) for view, pixels in enumerate(shown)]

    numbers = iter(range(0, 1000, 4))
    named = [[f"{next(numbers)}-{kind}" for kind in shard] for shard in shards]
    groups = [unlabelled(paths, views) for paths in named]
    results = collected(groups, Echo(batch_size, 2), load=load_views)
    for paths, (shard, failures) in zip(named, results, strict=True):
        good = [path for path in paths if path.endswith("good")]
        assert shard.rows["path"].to_pylist() == [path for path in good for _ in range(views)]
        assert shard.rows["view"].to_pylist() == list(range(views)) * len(good)
        expected = [int(path.split("-")[0]) + view for path in good for view in range(views)]
        assert shard.tensors["features"][:, 0].tolist() == expected
        assert sorted(failure["path"] for failure in failures) == sorted(set(paths) - set(good))


def test_a_lane_alone_may_repeat_paths_in_any_order():
    paths = ["3-good", "1-good", "1-good", "3-good", "2-bad"]
    ((shard, failures),) = collected([unlabelled(paths)], Echo(2, 2))
    assert shard.rows["path"].to_pylist() == paths[:4]
    assert shard.tensors["features"][:, 0].tolist() == [3, 1, 1, 3]
    assert [failure["path"] for failure in failures] == ["2-bad"]


def test_a_device_has_as_many_calls_under_way_as_it_wants():
    runtime = Echo(2, 3, seconds=lambda: 0.01)
    collected([unlabelled([f"{number}-good" for number in range(40)])], runtime)
    assert runtime.most == 3


def test_batches_are_full_but_for_the_last_of_a_shard():
    runtime = Echo(4, 2)
    groups = [unlabelled([f"{number}-good" for number in range(10)]) for _ in range(2)]
    collected(groups, runtime)
    assert runtime.calls == [4, 4, 2, 4, 4, 2]


def test_the_next_shard_is_computed_while_one_is_written():
    computed_while_writing = []
    runtime = Echo(1, 1, seconds=lambda: 0.02)
    groups = [unlabelled([f"{number}-good" for number in range(4)]) for _ in range(3)]

    class SlowSink(Sink):
        def finish(self, group, content):
            before = len(runtime.calls)
            time.sleep(0.1)
            computed_while_writing.append(len(runtime.calls) - before)

    list(run_pipeline(groups, loader(load, 1), runtime, SlowSink(), Monitor()))
    assert computed_while_writing[0] > 0


def test_no_more_images_are_decoded_ahead_than_the_window():
    started = []
    runtime = Echo(2, 2, seconds=lambda: 0.2)

    def counting(path, _clock):
        started.append(path)
        return load(path)

    stop = threading.Event()
    threading.Timer(0.1, lambda: (most.append(len(started)), stop.set())).start()
    most = []
    with pytest.raises(StoppedEarly):
        collected([unlabelled([f"{number}-good" for number in range(200)])], runtime, 2, stop, counting)
    assert most[0] <= 64 + 4 + 4  # the window, the calls running, the batch being filled and the next image


@pytest.mark.parametrize("abandoned", ["stopped", "given up", "broken"])
def test_however_it_ends_no_call_is_left_under_way(abandoned):
    runtime = Echo(1, 4, seconds=lambda: 0.01)
    stop = threading.Event()

    def breaking(path, _clock):
        if path.startswith("95-"):
            if abandoned == "broken":
                raise ZeroDivisionError
            if abandoned == "stopped":
                stop.set()
        return load(path)

    groups = [unlabelled([f"{number}-good" for number in range(start, start + 5)]) for start in range(0, 100, 5)]
    results = run_pipeline(groups, loader(breaking), runtime, Sink(), Monitor(stop=stop))
    next(results)
    assert runtime.now > 0
    if abandoned == "given up":
        results.close()
    else:
        with pytest.raises((StoppedEarly, ZeroDivisionError)):
            list(results)
    assert runtime.now == 0


def test_the_clock_tells_what_was_waited_for():
    def slow(path, _clock):
        time.sleep(0.01)
        return load(path)

    clock = Clock()
    collected([unlabelled([f"{number}-good" for number in range(20)])], Echo(1, 1), 1, load=slow, clock=clock)
    phases = clock.phases()
    assert max(phases, key=phases.get) == "decode"
    assert sum(phases.values()) <= clock.span

    clock = Clock()
    slow_network = Echo(1, 1, seconds=lambda: 0.01)
    collected([unlabelled([f"{number}-good" for number in range(20)])], slow_network, 1, clock=clock)
    phases = clock.phases()
    assert max(phases, key=phases.get) == "compute"


def test_what_the_clock_is_paused_for_is_not_in_its_span():
    clock, began = Clock(), time.perf_counter()
    clock.start()
    with clock.paused():
        time.sleep(0.05)
    clock.stop()
    assert 0 < clock.span <= time.perf_counter() - began - 0.05
