"""A store after any history, against a dictionary: images come, change, move and go; runs end early, disks fail, bytes rot.

Whatever happened, `store repair` and one run more give just the rows of the images that there are now.
"""

import contextlib
import functools
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from PIL import Image

from extract import extract
from store import open_store
from store.errors import EnvironmentFailure, TooManyFailures
from store.files.base import COPY
from store.files.local import LocalFiles
from store.maintenance import collect_garbage, repair, verify
from tests.attacks.hostile import raised
from tests.faults.test_writing import Disk
from tests.stub import StubRuntime, load_stub

names = st.sampled_from(["a/1.png", "a/2.png", "a/3.png", "b/4.png", "b/5.png"])
contents = st.integers(0, 5)
BROKEN = 0
"""The content of an image that cannot be decoded."""


@functools.cache
def pixels_of(content):
    return np.random.default_rng(content).integers(0, 256, (16, 16, 3), dtype=np.uint8)


@functools.cache
def feature_of(content):
    return StubRuntime().compute(pixels_of(content)[None])[0].astype(np.float16)


class History(RuleBasedStateMachine):
    """`images` is what there is: the content of each image by its path."""

    @initialize()
    def begin(self):
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(os, "fsync", lambda descriptor: None)
        self.patch.setattr("extract.resolve.load_runtime", load_stub)
        self.top = Path(tempfile.mkdtemp())
        self.data, self.out = self.top / "data", self.top / "store"
        self.images, self.changes, self.damaged = {}, 0, False
        for number, name in enumerate(["a/1.png", "b/4.png"], 1):
            self.put(name, number)

    def teardown(self):
        self.patch.undo()
        shutil.rmtree(self.top)

    @property
    def files(self):
        return LocalFiles(self.out)

    # Images

    @rule(name=names, content=contents)
    def put(self, name, content):
        path = self.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content == BROKEN:
            path.write_bytes(b"not an image")
        else:
            Image.fromarray(pixels_of(content)).save(path, compress_level=0)
        self.changes += 1
        os.utime(path, (self.changes, self.changes))
        self.images[name] = content

    @precondition(lambda self: len(self.images) > 1)
    @rule(data=st.data())
    def remove(self, data):
        name = data.draw(st.sampled_from(sorted(self.images)))
        (self.data / name).unlink()
        del self.images[name]

    @rule(data=st.data(), new=names)
    def rename(self, data, new):
        old = data.draw(st.sampled_from(sorted(self.images)))
        (self.data / new).parent.mkdir(exist_ok=True)
        os.replace(self.data / old, self.data / new)
        self.images[new] = self.images.pop(old)

    # Runs

    def run(self, **options):
        with contextlib.suppress(TooManyFailures):
            extract(self.data, out=self.out, backbone="mobilenet_v2", weights="random", image_size=(16, 16), max_bad=1,
                    shard_rows=2, batch_size=2, workers=1, prune=True, **options)  # fmt: skip

    @precondition(lambda self: not self.damaged)
    @rule()
    def run_to_the_end(self):
        self.run()
        self.assert_right()

    @precondition(lambda self: not self.damaged)
    @rule(number=st.integers(1, 120))
    def run_until_the_disk_fails(self, number):
        """From some call on nothing more is written, as if the process was killed."""
        with pytest.MonkeyPatch.context() as patch:
            Disk(patch, self.out, number, 28, times=10**9)
            patch.setattr("store.files.disk._PAUSES", ())
            try:
                self.run()
            except EnvironmentFailure:
                return
        self.assert_right()

    @precondition(lambda self: not self.damaged)
    @rule(part=st.sampled_from([(0, 2), (1, 2)]))
    def run_a_part(self, part):
        self.run(part=part)

    # Maintenance

    # A run that ends between store.json and its copy leaves nothing to repair store.json from, and nothing to lose.
    @precondition(lambda self: (self.out / COPY).exists() and not self.damaged)
    @rule(number=st.randoms(use_true_random=False), delete=st.booleans())
    def damage(self, number, delete):
        """One file loses a bit, or is gone."""
        found = sorted(path for path in self.out.rglob("*") if path.is_file() and path.stat().st_size)
        path = number.choice(found)
        if delete:
            path.unlink()
        else:
            data = bytearray(path.read_bytes())
            data[number.randrange(len(data))] ^= 1 << number.randrange(8)
            path.write_bytes(data)
        self.damaged = True
        for look in (lambda: verify(self.files), lambda: open_store(self.out).arrays()):
            error = raised(look)
            assert error is None or error.exit_code in (2, 4)

    @precondition(lambda self: self.there_is_a_store)
    @rule()
    def repair_and_run(self):
        if self.damaged:
            repair(self.files)
            assert verify(self.files).sound
        self.damaged = False
        self.run()
        self.assert_right()

    @precondition(lambda self: self.there_is_a_store and not self.damaged)
    @rule()
    def collect(self):
        before = verify(self.files)
        collect_garbage(self.files, min_age=-1)
        assert verify(self.files) == before

    # What always holds

    @property
    def there_is_a_store(self):
        return (self.out / "store.json").exists()

    @invariant()
    def the_store_is_sound(self):
        if not self.damaged and self.there_is_a_store:
            assert verify(self.files).sound

    def assert_right(self):
        features = open_store(self.out)
        x, rows = features.arrays()
        good = sorted(name for name, content in self.images.items() if content != BROKEN)
        assert rows["path"].to_pylist() == good
        expected = [feature_of(self.images[name]) for name in good]
        assert [row.tobytes() for row in x] == [row.tobytes() for row in expected]
        failed = sorted(name for name, content in self.images.items() if content == BROKEN)
        assert features.snapshot.failures()["path"].to_pylist() == failed
        assert features.complete


@pytest.mark.parametrize(("examples", "steps"), [(20, 8), pytest.param(500, 25, marks=pytest.mark.slow)])
def test_after_any_history_a_run_gives_the_rows_of_the_images_that_there_are(examples, steps):
    run_state_machine_as_test(
        History,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
