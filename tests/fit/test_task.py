import numpy as np
import pytest

from fit.task import Task, find_task
from store.errors import UsageError


def find(*texts):
    return find_task(texts, [f"{number}.png" for number in range(len(texts))])


def test_classes_are_sorted_and_targets_are_their_positions():
    task, targets = find("dog", "cat", "dog", "cat")
    assert task == Task(("cat", "dog"), multi_label=False)
    assert targets.tolist() == [1, 0, 1, 0]
    assert task.strata(targets).tolist() == [1, 0, 1, 0]
    assert task.class_counts(targets).tolist() == [2, 2]


def test_several_labels_are_a_matrix_and_the_rarest_is_the_stratum():
    task, targets = find("a|b", "b", "b|c", "a", "c|b")
    assert task == Task(("a", "b", "c"), multi_label=True)
    assert targets.tolist() == [[1, 1, 0], [0, 1, 0], [0, 1, 1], [1, 0, 0], [0, 1, 1]]
    assert task.strata(targets).tolist() == [0, 1, 2, 0, 2]
    assert task.class_counts(targets).tolist() == [2, 4, 2]


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["cat", "cat"], "all 2 images have the label 'cat'"),
        (["cat", "cat", "dog"], "the class dog has a single image"),
        (["cat", "cat", "dog", "cow"], "the classes cow, dog have a single image"),
        ([None, None], "no image has a label"),
        (["cat", "cat", "dog", "dog", None], r"1 of 5 images have no label \(4.png\)"),
        (["cat", "cat", "dog", "dog", " | "], r"1 of 5 images have no label \(4.png\)"),
        ([" ", "|"], "no image has a label"),
    ],
)
def test_labels_that_no_head_can_learn_from_are_refused(texts, words):
    with pytest.raises(UsageError, match=words):
        find(*texts)


def test_known_classes():
    single, multiple = (Task(("a", "b"), multi_label=multi_label) for multi_label in (False, True))
    assert single.encode(["b", "a"]).tolist() == [1, 0]
    assert multiple.encode(["b|a", "b"]).tolist() == [[1, 1], [0, 1]]
    with pytest.raises(UsageError, match="does not know the class c"):
        single.encode(["c"])
    with pytest.raises(UsageError, match="1 of 2 images have no label"):
        single.encode(["a", None])


def test_spaces_around_a_label_and_the_encoding_of_its_accents_do_not_count():
    task, targets = find("cat ", "cat", "cafe\u0301", "caf\u00e9")
    assert task.classes == ("caf\u00e9", "cat")
    assert targets.tolist() == [1, 1, 0, 0]
    assert task.encode([" cat", "cafe\u0301", "cat\t"]).tolist() == [1, 0, 1]
    earlier = Task(("cafe\u0301", "cat"), multi_label=False)
    assert earlier.encode(["caf\u00e9", "cafe\u0301 "]).tolist() == [0, 0]
    labels = Task(("a", "b"), multi_label=True)
    assert labels.texts(labels.encode(["b | a", " a"])) == ["a|b", "a"]
    with pytest.raises(UsageError, match=r"'a\|b' names several classes"):
        Task(("a", "b"), multi_label=False).encode(["a|b"])


def test_a_class_is_found_by_its_name_as_labels_are():
    task = Task(("cafe\u0301", "tea"), multi_label=False)  # as a head of 0.5.0 may have it
    assert [task.position_of(name) for name in ("caf\u00e9", "cafe\u0301 ", "tea", "Tea")] == [0, 0, 1, None]
    of_0_5_0 = Task(("caf\u00e9", "cafe\u0301"), multi_label=False)
    assert [of_0_5_0.position_of(name) for name in of_0_5_0.classes] == [0, 1]


def test_one_class_per_image_is_decided_by_the_highest_probability():
    task = Task(("a", "b", "c"), multi_label=False)
    probabilities = np.array([[0.2, 0.5, 0.3], [0.4, 0.3, 0.3]])
    assert task.decide(probabilities).tolist() == [1, 0]
    assert task.names(probabilities) == ["b", "a"]
    assert task.correct(np.array([1, 2]), probabilities).tolist() == [True, False]
    assert task.membership(np.array([1, 2])).tolist() == [[0, 1, 0], [0, 0, 1]]
    assert task.correct(np.empty(0, np.int64), np.empty((0, 3))).tolist() == []


def test_several_labels_are_each_decided_at_one_half():
    task = Task(("a", "b", "c"), multi_label=True)
    probabilities = np.array([[0.5, 0.49, 0.9], [0.1, 0.2, 0.3]])
    assert task.decide(probabilities).tolist() == [[1, 0, 1], [0, 0, 0]]
    assert task.names(probabilities) == ["a|c", ""]
    assert task.correct(np.array([[1, 0, 1], [0, 0, 1]], bool), probabilities).tolist() == [True, False]
    assert task.correct(np.empty((0, 3), bool), np.empty((0, 3))).tolist() == []
