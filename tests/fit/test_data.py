import numpy as np
import pytest

import fit.data
from fit.data import InMemory, Source, Streamed, load_features, reduce_tensor, reduced_shape
from store.errors import UsageError


@pytest.mark.parametrize("reduction", ["avg", "max", "flatten", "none"])
def test_a_reduced_tensor_has_the_reduced_shape(reduction):
    tensor = np.random.default_rng(0).normal(size=(5, 4, 3, 2)).astype(np.float16)
    reduced = reduce_tensor(tensor, reduction)
    assert reduced.shape[1:] == reduced_shape((4, 3, 2), reduction)
    if reduction == "avg":
        np.testing.assert_allclose(reduced, tensor.astype(np.float64).mean(axis=(1, 2)), atol=1e-6)
    if reduction == "max":
        assert np.array_equal(reduced, tensor.max(axis=(1, 2)))
    assert reduce_tensor(tensor[:, 0, 0], reduction).shape == (5, 2)


@pytest.mark.parametrize("reduction", ["avg", "flatten", "none"])
def test_streamed_features_are_those_in_memory(color_store, reduction, monkeypatch):
    output = color_store.find_output(None)
    stored = np.arange(3, 57, 2)
    memory = load_features(color_store, output, reduction, stored, streams=True)
    monkeypatch.setattr(fit.data, "available_memory", lambda: 100)
    streamed = load_features(color_store, output, reduction, stored, streams=True)
    assert isinstance(memory, InMemory)
    assert isinstance(streamed, Streamed)
    rows = np.array([5, 2, 9, 2, 26])
    assert memory.shape == streamed.shape
    assert np.array_equal(memory.take(rows), streamed.take(rows))
    chosen = np.arange(1, 20)
    for features in (memory, streamed):
        seen = [(values, at) for values, at in features.batches(chosen, 4, seed=3)]
        assert sorted(np.concatenate([at for _, at in seen]).tolist()) == chosen.tolist()
        assert np.concatenate([at for _, at in seen]).tolist() != chosen.tolist()
        for values, at in seen:
            assert values.dtype == np.float32
            assert np.array_equal(values, memory.take(at))


def test_a_head_that_cannot_stream_is_told_so_before_anything_is_read(color_store, monkeypatch):
    monkeypatch.setattr(fit.data, "available_memory", lambda: 100)
    with pytest.raises(
        UsageError, match="--reduce avg, --head linear, where images have one class each, or --head dense"
    ):
        load_features(color_store, color_store.find_output(None), "flatten", np.arange(60), streams=False)


@pytest.mark.parametrize("memory", [100, 10**9])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(color_store, monkeypatch, memory, value):
    whole = type(color_store).passes

    def spoilt(*arguments):
        for tensor, rows in whole(*arguments):
            spoilt_tensor = tensor.copy()
            spoilt_tensor[rows == 7, 0, 0, 0] = value
            yield spoilt_tensor, rows

    monkeypatch.setattr(type(color_store), "passes", spoilt)
    monkeypatch.setattr(fit.data, "available_memory", lambda: memory)
    with pytest.raises(UsageError, match=r"blue/007.png hold NaN or infinity"):
        load_features(color_store, color_store.find_output(None), "flatten", np.arange(60), streams=True)


def test_a_source_gives_features_with_their_targets():
    values = np.arange(10, dtype=np.float32)[:, None]
    source = Source(InMemory(values), np.array([1, 3, 5, 7]), np.arange(10) * 2)
    for features, targets in source.batches(3, seed=0):
        assert np.array_equal(features[:, 0] * 2, targets)
