import pyarrow as pa
import pytest

from fit.task import encode_known, encode_labels, relabel
from store.errors import UsageError


def encode(*texts):
    return encode_labels(texts, [f"{number}.png" for number in range(len(texts))])


def test_classes_are_sorted_and_targets_are_their_positions():
    labels = encode("dog", "cat", "dog", "cat")
    assert labels.classes == ("cat", "dog")
    assert labels.targets.tolist() == [1, 0, 1, 0]
    assert not labels.several


def test_several_labels_are_a_matrix_and_the_rarest_is_the_stratum():
    labels = encode("a|b", "b", "b|c", "a", "c|b")
    assert labels.classes == ("a", "b", "c")
    assert labels.targets.tolist() == [[1, 1, 0], [0, 1, 0], [0, 1, 1], [1, 0, 0], [0, 1, 1]]
    assert labels.strata.tolist() == [0, 1, 2, 0, 2]


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["cat", "cat"], "all 2 images have the label 'cat'"),
        (["cat", "cat", "dog"], "the class dog has a single image"),
        (["cat", "cat", "dog", "cow"], "the classes cow, dog have a single image"),
        ([None, None], "no image has a label"),
        (["cat", "cat", "dog", "dog", None], r"1 of 5 images have no label \(4.png\)"),
    ],
)
def test_labels_that_no_head_can_learn_from_are_refused(texts, words):
    with pytest.raises(UsageError, match=words):
        encode(*texts)


def test_known_classes():
    assert encode_known(["b", "a"], ("a", "b"), several=False).tolist() == [1, 0]
    assert encode_known(["b|a", "b"], ("a", "b"), several=True).tolist() == [[1, 1], [0, 1]]
    with pytest.raises(UsageError, match="does not know the class c"):
        encode_known(["c"], ("a", "b"), several=False)
    with pytest.raises(UsageError, match="1 of 2 images have no label"):
        encode_known(["a", None], ("a", "b"), several=False)


ROWS = pa.table(
    {
        "path": ["a.png", "b.png", "c.png"],
        "label": ["x", "x", "x"],
        "split": [None, None, None],
        "group": ["1", "2", "3"],
    }
).cast(pa.schema({name: pa.string() for name in ("path", "label", "split", "group")}))


def test_relabelling_keeps_the_order_of_the_rows_and_leaves_out_the_others(tmp_path):
    (tmp_path / "labels.csv").write_text("path,label,split\nc.png,cat,train\na.png,dog,test\nz.png,dog,test\n")
    rows, positions, strange = relabel(ROWS, tmp_path / "labels.csv")
    assert rows.to_pylist() == [
        {"path": "a.png", "label": "dog", "split": "test", "group": "1"},
        {"path": "c.png", "label": "cat", "split": "train", "group": "3"},
    ]
    assert positions.tolist() == [0, 2]
    assert strange == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,tag\na.png,x\n", "no column label"),
        ("path,label\nq.png,x\n", "names no image of the store"),
        ("path,label\na.png,x\na.png,y\n", "more than once"),
        ("path,label,split\na.png,x,dev\n", "expected train, validation, test"),
    ],
)
def test_a_table_of_labels_that_cannot_be_is_refused(text, words, tmp_path):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(UsageError, match=words):
        relabel(ROWS, tmp_path / "labels.csv")


def test_no_such_table(tmp_path):
    with pytest.raises(UsageError, match="is no table"):
        relabel(ROWS, tmp_path / "nothing.csv")
