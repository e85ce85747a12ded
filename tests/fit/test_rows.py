import numpy as np
import pyarrow as pa
import pytest

from fit.rows import ImageRows, relabel
from store.errors import UsageError

TABLE = pa.table(
    {
        "path": ["a.png", "b.png", "c.png"],
        "label": ["x", "x", "x"],
        "split": [None, None, None],
        "group": ["1", "2", "3"],
    }
).cast(pa.schema({name: pa.string() for name in ("path", "label", "split", "group")}))
ROWS = ImageRows(TABLE, np.arange(3))


def test_relabelling_keeps_the_order_of_the_rows_and_leaves_out_the_others(tmp_path):
    (tmp_path / "labels.csv").write_text("path,label,split\nc.png,cat,train\na.png,dog,test\nz.png,dog,test\n")
    rows, unknown = relabel(ROWS, tmp_path / "labels.csv")
    assert rows.table.to_pylist() == [
        {"path": "a.png", "label": "dog", "split": "test", "group": "1"},
        {"path": "c.png", "label": "cat", "split": "train", "group": "3"},
    ]
    assert rows.stored.tolist() == [0, 2]
    assert unknown == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,tag\na.png,x\n", "no column label"),
        ("path,label\nq.png,x\n", "names no image of the store"),
        ("path,label\na.png,x\na.png,y\n", "more than once"),
        ("path,label,split\na.png,x,holdout\n", "expected train, validation, test"),
    ],
)
def test_a_table_of_labels_that_cannot_be_is_refused(text, words, tmp_path):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(UsageError, match=words):
        relabel(ROWS, tmp_path / "labels.csv")


def test_no_such_table(tmp_path):
    with pytest.raises(UsageError, match="is not a table"):
        relabel(ROWS, tmp_path / "nothing.csv")
