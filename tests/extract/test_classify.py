"""The networks' own classes: names, the real weights of EfficientNet-Lite0, weights files, and what is refused."""

import numpy as np
import pytest

from extract.backbones.load import load_network
from extract.backbones.table import get_backbone
from extract.backbones.weights import Weights
from extract.classify import CLASSES, Classified, best_guesses, class_names, classify, require_few_errors
from extract.samples import write_samples
from store.errors import TooManyFailures, UsageError
from tests.families import smallest_of_each_family


@pytest.fixture
def photos(tmp_path):
    write_samples("photos", tmp_path / "photos")
    return tmp_path / "photos"


def test_the_names_are_those_of_ilsvrc_in_order():
    names = class_names()
    assert len(names) == CLASSES
    ids = [known.id for known in names]
    assert ids == sorted(set(ids))
    assert (names[285].id, names[285].name) == ("n02124075", "Egyptian_cat")
    assert [names[at].name for at in (0, 134, 517, 967, 999)] == [
        "tench",
        "crane",
        "crane",
        "espresso",
        "toilet_tissue",
    ]


def test_the_best_guesses_come_first_and_equal_ones_in_order():
    probabilities = np.zeros(CLASSES, np.float32)
    probabilities[[7, 3, 5]] = 0.5, 0.2, 0.2
    assert [guess.name for guess in best_guesses(probabilities, 3)] == ["cock", "tiger_shark", "electric_ray"]
    assert [guess.probability for guess in best_guesses(probabilities, 2)] == pytest.approx([0.5, 0.2])


@pytest.mark.parametrize("runtime", ["openvino", pytest.param("keras", marks=pytest.mark.slow)])
def test_photographs_are_named_sensibly_by_either_runtime(runtime, photos):
    (photos / "broken.jpg").write_text("no image")
    broken, china, flower = classify([photos], "efficientnet_lite0", top=CLASSES, runtime=runtime)
    assert (broken.path, broken.classes) == (f"{photos}/broken.jpg", ())
    assert broken.error.startswith("not_an_image: ")
    assert china.classes[0].name == "bell_cote"
    assert china.classes[0].probability == pytest.approx(0.3015, abs=1e-3)
    assert flower.classes[0].name == "daisy"
    assert sum(guess.probability for guess in flower.classes) == pytest.approx(1, abs=1e-4)


@pytest.mark.slow
def test_images_come_in_the_order_given_however_often(photos):
    given = [photos / "flower.jpg", photos / "china.jpg", photos / "flower.jpg"]
    found = classify(given, "efficientnet_lite0", top=1)
    assert [image.path for image in found] == [str(path) for path in given]
    assert found[0] == found[2] != found[1]


@pytest.mark.parametrize("name", [pytest.param("mobilenet_v2", marks=pytest.mark.slow), "squeezenet"])
def test_a_weights_file_with_the_top_is_taken_and_one_without_refused(name, photos, tmp_path):
    backbone = get_backbone(name)
    for include_top in (True, False):
        network, _ = load_network(backbone, Weights("random", seed=3), backbone.size, include_top)
        network.save_weights(tmp_path / f"{include_top}.weights.h5")
    (from_file,) = classify([photos / "china.jpg"], name, str(tmp_path / "True.weights.h5"))
    (drawn,) = classify([photos / "china.jpg"], name, "random:3")
    assert from_file == drawn
    with pytest.raises(UsageError, match=r"missing from the file; to classify, the file must hold .* the top"):
        classify([photos / "china.jpg"], name, str(tmp_path / "False.weights.h5"))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(smallest_of_each_family()) - {"pixels"}))
def test_every_family_gives_a_thousand_probabilities(name, photos):
    (image,) = classify([photos / "china.jpg"], name, "random", top=CLASSES, runtime="keras")
    assert sum(guess.probability for guess in image.classes) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top": 0}, "--top is 0: expected 1 to 1,000"),
        ({"top": 1001}, "--top is 1001"),
        ({"runtime": "onnx"}, "--runtime is 'onnx'"),
        ({"backbone": "pixels"}, "pixels has no classes"),
        ({"backbone": "squeezenet"}, "no ImageNet weights of squeezenet"),
        ({"images": ["none*.jpg"]}, "no file matches"),
    ],
)
def test_what_cannot_be_classified_is_refused(options, message, photos):
    with pytest.raises(UsageError, match=message):
        classify(**{"images": [photos], "backbone": "efficientnet_lite0", **options})


def test_too_many_bad_images_are_an_error():
    images = [Classified("a", ()), Classified("b", (), "empty: the file is empty")]
    require_few_errors(images, 0.5)
    with pytest.raises(TooManyFailures, match=r"1 of 2 images failed, more than --max-bad 0\.4"):
        require_few_errors(images, 0.4)
