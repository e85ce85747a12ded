"""Which library Keras computes with, and that no configuration of the process changes what is built."""

import sys
from types import SimpleNamespace

import keras
import pytest

from extract.backbones.build import build, keras_defaults
from extract.backbones.table import get_backbone
from extract.runtimes.backend import backend_name, start_keras
from store.errors import UsageError


def test_a_keras_that_is_imported_already_says_what_computes(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", SimpleNamespace(backend=SimpleNamespace(backend=lambda: "jax")))
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert backend_name() == "jax"
    monkeypatch.delitem(sys.modules, "keras")
    assert backend_name() == "torch"
    monkeypatch.delenv("KERAS_BACKEND")
    assert backend_name() == "tensorflow"


def test_a_configuration_that_keras_cannot_read_is_wrong_use(monkeypatch):
    class Broken:
        def find_spec(self, name, *_):
            if name == "keras":
                raise ValueError("Invalid `floatx` configuration")

    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(UsageError, match=r"Invalid `floatx` configuration.* correct or delete its keras\.json"):
        start_keras()


def test_a_program_that_has_configured_keras_gets_the_same_network_and_keeps_its_configuration():
    before = keras.config.floatx(), keras.config.image_data_format(), keras.config.epsilon()
    keras.config.set_floatx("float16")
    keras.config.set_image_data_format("channels_first")
    keras.config.set_epsilon(0.1)
    try:
        network = build(get_backbone("squeezenet"), (64, 64))
        assert network.input_shape == (None, 64, 64, 3)
        assert {str(tensor.dtype) for tensor in (*network.inputs, *network.outputs)} == {"float32"}
        with keras_defaults():
            assert keras.config.epsilon() == 1e-7
        assert (keras.config.floatx(), keras.config.image_data_format()) == ("float16", "channels_first")
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_image_data_format(before[1])
        keras.config.set_epsilon(before[2])
