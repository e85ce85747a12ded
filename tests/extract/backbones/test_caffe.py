"""What Caffe's networks have and Keras lacks, compared with the formulas."""

import keras
import numpy as np
import pytest

from extract.backbones.networks.caffe import local_response_normalization, max_pool


def test_local_response_normalization_is_the_papers_formula():
    values = np.random.default_rng(0).normal(0, 100, (2, 3, 4, 12)).astype(np.float32)
    inputs = keras.Input(values.shape[1:])
    found = np.asarray(keras.Model(inputs, local_response_normalization(inputs, "norm"))(values))
    for channel in range(12):
        near = values[..., max(0, channel - 2) : channel + 3]
        expected = values[..., channel] / (1 + 1e-4 / 5 * (near**2).sum(axis=-1)) ** 0.75
        np.testing.assert_allclose(found[..., channel], expected, rtol=1e-5)


@pytest.mark.parametrize(("size", "pooled"), [(13, 6), (14, 7), (54, 27), (55, 27), (112, 56)])
def test_pooling_rounds_up(size, pooled):
    values = np.random.default_rng(0).random((1, size, size, 2)).astype(np.float32)
    inputs = keras.Input(values.shape[1:])
    found = np.asarray(keras.Model(inputs, max_pool(inputs, "pool"))(values))
    assert found.shape == (1, pooled, pooled, 2)
    np.testing.assert_array_equal(found[0, -1, -1], values[0, 2 * pooled - 2 :, 2 * pooled - 2 :].max(axis=(0, 1)))
