"""The power fails after any call of a run: what is left on the disk is a sound store, and the same command completes it."""

import os
import random

import pytest

from store import open_store
from tests.faults.build import assert_complete, assert_sound, run
from tests.faults.disk_model import Recorder, replayed, write_out


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The calls of a run, and after how many of them which records had been published."""
    folder = tmp_path_factory.mktemp("disk")
    published = []
    with pytest.MonkeyPatch.context() as patch:
        recorder = Recorder(patch, folder)
        patch.setattr("store.files.local.LocalFiles.create", noted(recorder, published))
        run(folder / "store")
    assert_complete(folder / "store")
    return recorder.calls, published


def noted(recorder, published):
    from store.files.local import LocalFiles

    original = LocalFiles.create

    def create(self, name, data):
        created = original(self, name, data)
        published.append((len(recorder.calls), name, data))
        return created

    return create


def outcomes(count):
    """Ways in which what was not synced is lost or kept: all of it lost, all of it kept, and by chance."""
    yield "lost", lambda: False
    yield "kept", lambda: True
    for seed in range(count):
        rng = random.Random(seed)
        yield f"seed {seed}", lambda rng=rng: rng.random() < 0.5


@pytest.mark.parametrize(
    ("step", "seeds"), [(17, 1), pytest.param(1, 20, marks=pytest.mark.slow)], ids=["some calls", "every call"]
)
def test_the_power_fails_after_any_call(recorded, tmp_path, monkeypatch, step, seeds):
    calls, published = recorded
    assert len(calls) > 60
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    for number in range(0, len(calls) + 1, step):
        for outcome, kept in outcomes(seeds):
            place = tmp_path / f"{number} {outcome}"
            write_out(replayed(calls[:number]), place, kept)
            root = place / "store"
            assert_sound(root)
            for after, name, data in published:
                if after <= number:
                    assert (root / name).read_bytes() == data, (number, outcome, name)
            run(root)
            assert_complete(root)


def test_a_rewritten_store_of_lost_and_kept_calls_differs(recorded, tmp_path):
    """The model does lose something: else the test above would say nothing."""
    calls, _ = recorded
    some = [number for number, call in enumerate(calls) if call[0] == "link"][4]
    for outcome, kept in outcomes(0):
        write_out(replayed(calls[: some + 1]), tmp_path / outcome, kept)
    names = [sorted(str(path.relative_to(top)) for path in top.rglob("*")) for top in tmp_path.iterdir()]
    assert names[0] != names[1]
    assert calls[some][2].startswith("store/")
    assert len(open_store(tmp_path / "kept" / "store")) >= 0
