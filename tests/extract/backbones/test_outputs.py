"""Which outputs of an ONNX model --layer names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.backbones.families import find_family
from extract.backbones.onnx_file import Port
from extract.backbones.outputs import Cut, needed_prefix, parse_cut, resolve_layers
from extract.backbones.tokens import find_grid
from store.errors import UsageError

DINOV2 = find_family({"model_type": "dinov2_with_registers", "num_register_tokens": 4})
TOKENS = Port("last_hidden_state", (None, 261, 384))
BLOCK = Port("hidden_states.11", (None, 261, 384))


@pytest.mark.parametrize(
    ("layer", "cut"),
    [
        ("hidden_states.11", Cut("hidden_states.11")),
        ("hidden_states.11.cls", Cut("hidden_states.11", "cls")),
        ("hidden_states.12.cls", None),
        ("hidden_states", None),
        ("cls", None),
        ("x.mean", Cut("x.mean")),
        ("x.mean.mean", Cut("x.mean", "mean")),
    ],
)
def test_names_of_outputs_may_have_dots(layer, cut):
    assert parse_cut(layer, ["hidden_states.11", "x.mean"]) == cut


def test_several_outputs_are_named_at_once():
    layers = resolve_layers(("hidden_states.11.cls", "mean"), [TOKENS, BLOCK], DINOV2, "m")
    assert layers == ("hidden_states.11.cls", "last_hidden_state.mean")


def test_the_only_output_is_the_default_of_an_unknown_model():
    assert resolve_layers((), [Port("features", (1, 8))], None, "m") == ("features",)
    assert resolve_layers((), [Port("features", None)], None, "m") == ("features",)
    with pytest.raises(UsageError, match="which part"):
        resolve_layers((), [TOKENS], None, "m")


def test_pooled_is_the_projection_where_there_is_one():
    clip = find_family({"model_type": "clip", "vision_config": {}})
    both = [Port("pooler_output", (1, 8)), Port("image_embeds", (1, 4))]
    assert resolve_layers((), both, clip, "m") == ("image_embeds",)
    assert resolve_layers((), both[:1], clip, "m") == ("pooler_output",)


def test_a_family_that_is_not_known_has_no_short_names():
    assert find_family({"model_type": "eva"}) is None
    assert find_family({}) is None
    with pytest.raises(UsageError, match="no output 'cls'"):
        resolve_layers(("cls",), [TOKENS], None, "m")


def test_registers_count_as_tokens_before_the_patches():
    assert DINOV2.prefix_tokens == 5
    nested = find_family({"model_type": "clip", "vision_config": {"num_register_tokens": 2}, "num_register_tokens": 9})
    assert nested.prefix_tokens == 3
    assert find_family({"model_type": "vit", "num_register_tokens": "x"}).prefix_tokens == 1


def test_the_prefix_is_in_a_recipe_only_where_a_layer_depends_on_it():
    ports = [TOKENS, Port("x.mean", (1, 8))]
    assert needed_prefix(("last_hidden_state.cls", "x.mean"), ports, None, "m") == 0
    assert needed_prefix(("last_hidden_state.mean",), ports, 5, "m") == 5
    with pytest.raises(UsageError, match="prefix_tokens = 1"):
        needed_prefix(("last_hidden_state.patches",), ports, None, "m")


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20), st.integers(0, 9))
def test_the_grid_of_square_patches_is_found(rows, columns, patch, prefix):
    grid = find_grid(prefix + rows * columns, prefix, (rows * patch, columns * patch))
    assert (grid.prefix, grid.shape) == (prefix, (rows, columns))


@pytest.mark.parametrize(("tokens", "prefix", "size"), [(257, 0, (224, 224)), (1, 1, (32, 32)), (13, 0, (32, 64))])
def test_tokens_that_are_not_a_grid_are_refused(tokens, prefix, size):
    assert find_grid(tokens, prefix, size) is None
    with pytest.raises(UsageError, match="not a grid"):
        Cut("x", "mean").require_grid(tokens, prefix, size)


def test_the_parts_that_are_suggested_are_those_of_a_sequence():
    with pytest.raises(UsageError, match=r"which part \(last_hidden_state\.cls, ") as raised:
        resolve_layers((), [Port("image_embeds", (None, 8)), TOKENS], None, "m")
    assert "image_embeds.cls" not in str(raised.value)
    with pytest.raises(UsageError, match=r"say with --layer which one$"):
        resolve_layers((), [Port("a", (None, 8)), Port("b", (None, 8))], None, "m")
