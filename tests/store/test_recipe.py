import json
from dataclasses import dataclass, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.choices import CROPS, FLIPS, INT8, POOLINGS, PRECISIONS, RESIZES, STORED_DTYPES
from store.errors import NotAStore
from store.preprocessing import CHANNELS, LAYOUTS, Preprocessing
from store.quantization import Quantization
from store.recipe import Augmentation, Output, Recipe, differences
from store.schema import InvalidField
from tests.store.build import SPATIAL, VECTOR, make_recipe

texts = st.text(max_size=5)
numbers = st.integers(1, 3)
triples = st.tuples(*[st.floats(0.25, 4)] * 3)
preprocessings = st.builds(
    Preprocessing,
    triples,
    triples,
    st.sampled_from([1 / 255, 1.0]),
    st.sampled_from(CHANNELS),
    st.sampled_from(LAYOUTS),
)
computed = st.builds(
    Recipe,
    backbone=st.sampled_from(["vgg16", "resnet50"]),
    weights=st.sampled_from(["a" * 64, "b" * 64]),
    layers=st.lists(texts, max_size=2).map(tuple),
    pooling=st.sampled_from(POOLINGS),
    image_size=st.tuples(numbers, numbers),
    resize=st.sampled_from(RESIZES),
    crop=st.sampled_from(CROPS),
    background=st.sampled_from(["#ffffff", "#0a0b0c"]),
    precision=st.sampled_from([precision for precision in PRECISIONS if precision != INT8]),
    dtypes=st.lists(st.sampled_from(STORED_DTYPES), max_size=2).map(tuple),
    fast_decode=st.booleans(),
    augment=st.none() | st.builds(Augmentation, views=numbers, seed=numbers, flip=st.sampled_from(FLIPS)),
    preprocessing=st.none() | preprocessings,
    prefix_tokens=numbers,
)
digests = st.sampled_from(["c" * 64, "d" * 64])
quantizations = st.builds(Quantization, network=digests, calibration=digests, images=numbers, rule=numbers)
recipes = computed | st.builds(
    lambda recipe, quantization: replace(recipe, precision=INT8, quantization=quantization), computed, quantizations
)

OTHER = {
    "backbone": "vgg16",
    "weights": "f" * 64,
    "layers": ("middle",),
    "pooling": "max",
    "image_size": (160, 224),
    "resize": "nearest",
    "crop": "center",
    "background": "#000000",
    "precision": "bfloat16",
    "dtypes": ("float16",),
    "fast_decode": True,
    "augment": Augmentation(3),
    "orientation": "ignored",
    "bit_depth": "low_byte",
    "preprocessing": Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 1 / 255),
    "resize_to": (256,),
    "prefix_tokens": 1,
    "quantization": Quantization("c" * 64, "d" * 64, 300, 1),
}


@given(recipes, recipes)
def test_fingerprints_are_equal_exactly_where_recipes_are(one, other):
    assert (one.fingerprint == other.fingerprint) == (one == other)


@given(recipes)
def test_a_recipe_survives_json_in_any_order_of_its_fields(recipe):
    values = json.loads(json.dumps(recipe.to_dict()))
    backwards = Recipe.from_dict(dict(reversed(values.items())))
    assert backwards == recipe
    assert backwards.fingerprint == recipe.fingerprint


@pytest.mark.parametrize("name", [field.name for field in fields(Recipe)])
def test_every_field_changes_the_fingerprint_and_is_named_as_a_difference(name):
    recipe = make_recipe()
    other = replace(recipe, **{name: OTHER[name]})
    assert other.fingerprint != recipe.fingerprint
    (line,) = differences(recipe, other)
    assert line.startswith(f"{name}: ")


def test_the_fingerprint_of_a_known_recipe_never_changes():
    # Stores in the field carry such fingerprints: a recipe of old must give the one it gave then.
    assert make_recipe().fingerprint == "272cdee5ce5b794b1cdca4c190d9b8a2e31735b5a0bd6507c7c32293a1c697c4"


def test_equal_recipes_have_no_differences():
    assert differences(make_recipe(), make_recipe()) == []


def test_a_difference_says_both_values_and_cuts_digests():
    stored = make_recipe(weights="a" * 64, layers=("x", "y"))
    asked = make_recipe(weights="b" * 64, layers=("z",), augment=Augmentation(2))
    assert differences(stored, asked) == [
        f"weights: the store has {'a' * 12}…, this run asks for {'b' * 12}…",
        "layers: the store has x, y, this run asks for z",
        "augment: the store has none, this run asks for views 2, seed 0, rotation 40.0, shift 0.2, shear 0.2, zoom 0.2, "
        "brightness 0.0, flip horizontal",
    ]


@pytest.mark.parametrize("output", [SPATIAL, VECTOR])
def test_an_output_survives_json(output):
    assert Output.from_dict(json.loads(json.dumps(output.to_dict()))) == output


def test_a_tensor_is_spatial_and_a_vector_is_not():
    assert SPATIAL.spatial
    assert not VECTOR.spatial


def test_a_recipe_without_altered_views_has_the_fingerprint_that_it_always_had():
    values = make_recipe().to_dict()
    assert values["augment"] == 0
    assert make_recipe().fingerprint == "272cdee5ce5b794b1cdca4c190d9b8a2e31735b5a0bd6507c7c32293a1c697c4"


def test_another_augmentation_is_told_field_by_field():
    (line,) = differences(make_recipe(augment=Augmentation(4)), make_recipe(augment=Augmentation(4, seed=1)))
    assert "seed 0" in line
    assert "seed 1" in line


@pytest.mark.parametrize("changed", [{"precision": INT8}, {"quantization": OTHER["quantization"]}])
def test_int8_and_the_network_that_computes_it_come_together(changed):
    values = make_recipe(**changed).to_dict()
    with pytest.raises(InvalidField, match=r"precision is .* expected int8 with quantization"):
        Recipe.from_dict(values)


# Fields of later versions


@dataclass(frozen=True)
class LaterRecipe(Recipe):
    """A recipe with a field that was added after 0.5.0."""

    sharpen: float = 0.0


def test_a_later_field_at_its_default_changes_no_fingerprint():
    recipe = make_recipe()
    values = {field.name: getattr(recipe, field.name) for field in fields(recipe)}
    assert LaterRecipe(**values).fingerprint == recipe.fingerprint
    assert LaterRecipe(**values).to_dict() == recipe.to_dict()
    assert LaterRecipe.from_dict(recipe.to_dict()) == LaterRecipe(**values)
    other = LaterRecipe(**values, sharpen=1.0)
    assert other.fingerprint != recipe.fingerprint
    assert LaterRecipe.from_dict(other.to_dict()) == other


def test_the_fields_of_0_5_0_are_always_written():
    assert len(make_recipe().to_dict()) == 14
    assert len(make_recipe(augment=Augmentation(2)).to_dict()["augment"]) == 8


LATER = ("preprocessing", "resize_to", "prefix_tokens", "quantization")


@pytest.mark.parametrize("name", [field.name for field in fields(Recipe) if field.name not in LATER])
def test_a_recipe_that_lacks_a_field_of_0_5_0_is_refused(name):
    values = make_recipe().to_dict()
    del values[name]
    with pytest.raises(TypeError, match=name):
        Recipe.from_dict(values)


def test_a_recipe_of_a_newer_version_is_refused():
    with pytest.raises(NotAStore, match="sharpen, which this version does not know: it was made by a newer version"):
        Recipe.from_dict({**make_recipe().to_dict(), "sharpen": 1.0})
    augmented = make_recipe(augment=Augmentation(2)).to_dict()
    with pytest.raises(NotAStore, match="newer version"):
        Recipe.from_dict({**augmented, "augment": {**augmented["augment"], "blur": 1}})


def test_a_later_field_at_its_default_is_not_written():
    assert not set(LATER) & set(make_recipe().to_dict())


PREPARED = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "rescale": 0.1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preprocessing": 1}, "preprocessing is 1: expected an object"),
        ({"preprocessing": {**PREPARED, "std": [0.5, 0.5, 0]}}, "preprocessing.std"),
        ({"preprocessing": {**PREPARED, "mean": [0.5, 0.5]}}, "preprocessing.mean"),
        ({"preprocessing": {**PREPARED, "gamma": 2}}, "gamma is not known"),
        ({"preprocessing": {"mean": [0.5, 0.5, 0.5]}}, "preprocessing.std is missing"),
        ({"preprocessing": {**PREPARED, "layout": "chwn"}}, "preprocessing.layout"),
        ({"crop": "center", "resize_to": [10]}, "too small to crop"),
        ({"crop": "center", "resize_to": [256, 256, 256]}, "one or two numbers"),
        ({"crop": "stretch", "resize_to": [256]}, "crop stretch"),
        ({"resize_to": [0]}, "resize_to"),
        ({"prefix_tokens": -1}, "prefix_tokens"),
    ],
)
def test_preprocessing_that_cannot_be_is_refused(changes, message):
    with pytest.raises(InvalidField, match=message):
        Recipe.from_dict({**make_recipe().to_dict(), **changes})
