import numpy as np
import pyarrow as pa
import pytest

from extract.api import Reporter
from fit.rows import ImageRows, exclude, relabel, select_images
from store import open_store
from store.errors import UsageError
from tests.store.build import BROKEN, SmallStore, make_images

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
        ("path,label\na.png,x\na.png,y\n", r"more than once \(1 path repeats\)"),
        ("path,label\n", "has no rows below its header"),
        ("path,label,split\na.png,x,holdout\n", "expected train, validation, test"),
    ],
)
def test_a_table_of_labels_that_cannot_be_is_refused(text, words, tmp_path):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(UsageError, match=words):
        relabel(ROWS, tmp_path / "labels.csv")


def test_no_such_table(tmp_path):
    with pytest.raises(UsageError, match=r"there is no file .*nothing\.csv: expected a \.csv"):
        relabel(ROWS, tmp_path / "nothing.csv")


def test_another_file_is_no_table(tmp_path):
    (tmp_path / "labels.txt").write_text("path,label\n")
    with pytest.raises(UsageError, match="is not a table"):
        relabel(ROWS, tmp_path / "labels.txt")


def test_images_that_a_table_names_are_left_out_however_often_it_names_them(tmp_path):
    (tmp_path / "found.csv").write_text("kind,path,other\nleak,b.png,a.png\nduplicate,b.png,\nodd,z.png,\n")
    said = []
    rows = exclude(ROWS, tmp_path / "found.csv", Reporter(said.append))
    assert rows.texts("path") == ["a.png", "c.png"]
    assert rows.stored.tolist() == [0, 2]
    assert said == [
        f"left out, as {tmp_path}/found.csv says: 1 of 3 images",
        f"warning: 1 paths of {tmp_path}/found.csv are not in the store",
    ]


def test_names_are_left_out_as_the_store_writes_them_and_as_the_files_are_named(tmp_path):
    names = ["a\\\\b.png", "x\\xff.png", 'q"\n.png', "=1+2.png"]
    rows = ImageRows(pa.table({"path": names}), np.arange(4))
    (tmp_path / "found.csv").write_text('path\na\\b.png\nx\\xff.png\n"q""\n.png"\n')
    assert exclude(rows, tmp_path / "found.csv").texts("path") == ["=1+2.png"]


def test_a_table_without_findings_leaves_nothing_out(tmp_path):
    (tmp_path / "found.csv").write_text("path,kind\n")
    assert len(exclude(ROWS, tmp_path / "found.csv")) == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path\nq.png\n", "names no image of the store"),
        ("path\na.png\nb.png\nc.png\n", "names all 3 images"),
        ("image\na.png\n", "expected one named path"),
        ("path,kind\n,leak\n", "has no path"),
    ],
)
def test_a_table_of_images_to_leave_out_that_cannot_be_is_refused(text, words, tmp_path):
    (tmp_path / "found.csv").write_text(text)
    with pytest.raises(UsageError, match=words):
        exclude(ROWS, tmp_path / "found.csv")


def test_labels_and_exclusions_are_both_applied(color_store, tmp_path):
    (tmp_path / "labels.csv").write_text("path,label\nred/000.png,warm\nred/001.png,warm\nblue/000.png,cold\n")
    (tmp_path / "found.csv").write_text("path\nred/001.png\n")
    said = []
    rows = select_images(color_store, tmp_path / "labels.csv", Reporter(said.append), tmp_path / "found.csv")
    assert rows.table.select(["path", "label"]).to_pylist() == [
        {"path": "blue/000.png", "label": "cold"},
        {"path": "red/000.png", "label": "warm"},
    ]
    assert not any("warning" in line for line in said)


def test_a_store_of_failures_alone_says_so(tmp_path):
    SmallStore(tmp_path / "store").update(make_images("a.png", "b.png", content=BROKEN))
    with pytest.raises(UsageError, match=r"no rows: all 2 images failed, `store failures .*store` says why"):
        select_images(open_store(tmp_path / "store"))
