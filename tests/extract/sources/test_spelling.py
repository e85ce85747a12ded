"""How people spell folders and tables: what is understood, and what is reported where something else could be meant."""

import codecs
from decimal import Decimal

import pyarrow as pa
import pytest

from extract.sources.base import describe_left_out
from extract.sources.listing import list_data
from extract.sources.table import read_labels
from store.errors import UsageError
from tests.extract.sources.build import table


def listed(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"bytes")
    return list_data(root)


def rows(listing, *columns):
    return list(zip(*(listing.table[name].to_pylist() for name in columns), strict=True))


# Folders


@pytest.mark.parametrize(
    ("folder", "split"),
    [
        ("training", "train"),
        ("valid", "validation"),
        ("Validation", "validation"),
        ("VAL", "validation"),
        ("dev", "validation"),
        ("Test", "test"),
        ("testing", "test"),
        ("validate", "validation"),
        ("test_set", "test"),
        ("Val images", "validation"),
        ("testdata", "test"),
    ],
)
def test_every_common_name_of_a_split_is_one(tmp_path, folder, split):
    listing = listed(tmp_path, f"{folder}/cat/1.png", "Train/dog/2.png")
    assert sorted(rows(listing, "label", "split")) == sorted([("cat", split), ("dog", "train")])
    assert len(listing.notes) == (split == "train")  # two folders of training images


def test_two_folders_of_one_split_are_mentioned(tmp_path):
    listing = listed(tmp_path, "train/cat/1.png", "val/cat/1.png", "valid/cat/2.png")
    assert listing.notes == ("the folders val, valid are one split, validation",)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("test/1.png", "val/2.png"), "(test, val), because there is no folder train"),
        (
            ("train/1.png", "test/2.png", "planes/3.png"),
            "(test, train), because other folders are beside them (planes)",
        ),
        (("train/1.png", "0.png"), "(train), because other folders are beside them (images)"),
    ],
)
def test_split_names_that_are_taken_as_classes_are_mentioned(tmp_path, names, said):
    listing = listed(tmp_path, *names)
    assert listing.notes == (f"folders named like splits are taken as classes {said}",)


def test_a_class_that_happens_to_be_named_like_a_split_is_not_mentioned(tmp_path):
    assert listed(tmp_path, "dev/1.png", "ops/2.png").notes == ()


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("photos/train/cat/1.png", "photos/test/dog/2.png"), "all images are in photos, so they have one label"),
        (("cat/train/1.png", "dog/Test/2.png"), "Test, train below the classes are not read as splits"),
    ],
)
def test_folders_that_are_one_level_too_deep_are_mentioned(tmp_path, names, said):
    (note,) = listed(tmp_path, *names).notes
    assert note.startswith(said)


def test_folder_names_are_trimmed_and_normalized_as_labels(tmp_path):
    listing = listed(tmp_path, "cafe\N{COMBINING ACUTE ACCENT}/1.png", " cat/2.png", "dog/3.png")
    assert {label for (label,) in rows(listing, "label")} == {"caf\N{LATIN SMALL LETTER E WITH ACUTE}", "cat", "dog"}
    assert "2 of 3 folder names trimmed or normalized" in listing.notes[0]


def test_a_table_beside_images_without_labels_is_mentioned(tmp_path):
    table(tmp_path, "path,label\n1.png,cat\n")
    assert "name one as DATA" in listed(tmp_path, "1.png").notes[0]
    assert listed(tmp_path, "cat/2.png").notes == ()


# Tables


@pytest.mark.parametrize(
    "content",
    [
        "path, label, split, group\na.png, cat, Train, g\n",
        "Path,LABEL,Split,Group\na.png,cat,train,g\n",
        "path;label;split;group\na.png;cat;training;g\n",
        "path\tlabel\tsplit\tgroup\r\na.png\tcat\tTRAIN\tg\r\n",
        '\n"path";"label";"split";"group"\n"a.png";"cat";"train";"g"\n',
        b"\xef\xbb\xbf path , label , split , group \na.png , cat , train , g \n",
        "path,label,split,group\ra.png,cat,train,g\r",
        "path,label,split,group\r\na.png,cat,train,g\r\n".encode("utf-16"),
        codecs.BOM_UTF16_BE + "path\tlabel\tsplit\tgroup\na.png\tcat\ttrain\tg\n".encode("utf-16-be"),
    ],
    ids=["spaces", "capitals", "semicolons", "tabs", "quotes", "mark", "returns", "utf-16", "utf-16-be"],
)
def test_headers_and_delimiters_are_read_however_they_are_spelled(tmp_path, content):
    listing = list_data(table(tmp_path, content))
    assert rows(listing, "path", "label", "split", "group") == [("a.png", "cat", "train", "g")]


def test_a_table_may_end_in_tsv(tmp_path):
    assert rows(list_data(table(tmp_path, "path\tlabel\na.png\tcat\n", "t.tsv")), "label") == [("cat",)]


def test_a_comma_inside_a_semicolon_table_is_text(tmp_path):
    assert rows(list_data(table(tmp_path, "note,more;path;label\nx;a,b.png;cat, old\n")), "path", "label") == [
        ("a,b.png", "cat, old")
    ]


def test_a_table_without_labels_says_which_columns_are_not_used(tmp_path):
    listing = list_data(table(tmp_path, "path,class,score\na.png,cat,1\n"))
    assert listing.notes[0].endswith("has no column label; columns that are not used: class, score")
    assert list_data(table(tmp_path, "path\na.png\n")).notes == ()
    assert list_data(table(tmp_path, "path,label,score\na.png,cat,1\n")).notes == ()


def test_labels_and_groups_are_trimmed_and_normalized_and_that_is_said(tmp_path):
    content = (
        "path,label,group\na.png, cat\N{ZERO WIDTH SPACE},g \nb.png,cafe\N{COMBINING ACUTE ACCENT},g\nc.png,cat,g\n"
    )
    read = read_labels(str(table(tmp_path, content)))
    assert read.table["label"].to_pylist() == ["cat", "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "cat"]
    assert read.table["group"].to_pylist() == ["g", "g", "g"]
    assert [note.split(" ")[:4] for note in read.notes] == [["2", "of", "3", "labels"], ["1", "of", "3", "groups"]]


def test_a_blank_label_is_none(tmp_path):
    listing = list_data(table(tmp_path, "path,label,split,group\na.png, , ,\t\n"))
    assert rows(listing, "label", "split", "group") == [(None, None, None)]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (pa.array(["x", None], pa.string_view()), ["x", None]),
        (pa.array(["x", ""], pa.large_string()), ["x", None]),
        (pa.array([True, False]), ["true", "false"]),
        (pa.array([1.0, None]), ["1", None]),
        (pa.array([float("nan"), -2.5]), [None, "-2.5"]),
        (pa.array([0.1, 3], pa.float32()), ["0.1", "3"]),
        (pa.array([Decimal("1.50"), Decimal("2.00")]), ["1.50", "2"]),
        (pa.array([1, 2], pa.uint8()), ["1", "2"]),
        (pa.array(["x", "y"]).dictionary_encode(), ["x", "y"]),
    ],
    ids=str,
)
def test_labels_of_any_plain_type_are_read(tmp_path, values, labels):
    content = {"path": pa.array(["a.png", "b.png"], pa.string_view()), "label": values, "group": values}
    read = read_labels(str(table(tmp_path, content, "table.parquet")))
    assert read.table["label"].to_pylist() == labels == read.table["group"].to_pylist()


@pytest.mark.parametrize("values", [[b"x"], [["x"]], [{"x": 1}]], ids=["binary", "list", "struct"])
def test_labels_of_other_types_are_refused(tmp_path, values):
    with pytest.raises(UsageError, match=r"column label .* expected text"):
        read_labels(str(table(tmp_path, {"path": ["a.png"], "label": values}, "table.parquet")))


def test_windows_paths_are_understood_and_that_is_said(tmp_path):
    listed(tmp_path, "cat/deep/a.png")
    listing = list_data(table(tmp_path, "path,label\ncat\\deep\\a.png,x\ncat/deep\\b.png,x\n"))
    assert rows(listing, "path", "size") == [("cat/deep/a.png", 5), ("cat/deep/b.png", -1)]
    assert "read as those of Windows" in listing.notes[0]


def test_white_space_around_paths_is_left_out_unless_it_is_part_of_a_name(tmp_path):
    listed(tmp_path, "a.png", " b.png")
    assert rows(list_data(table(tmp_path, "path\n a.png \n")), "path", "size") == [("a.png", 5)]
    assert rows(list_data(table(tmp_path, "path\n b.png\n")), "path", "size") == [(" b.png", 5)]


# Files that are left out


def test_files_that_are_left_out_are_counted_by_their_endings(tmp_path):
    listing = listed(tmp_path, "a.png", "b.txt", "c.TXT", "d.pdf", "Makefile", "e.jgp")
    assert describe_left_out(listing.left_out) == (
        "5 files left out: 2 .txt, 1 without an ending, 1 .jgp (did you mean .jpg?), 1 .pdf"
    )
    assert describe_left_out({}) == ""
    many = {f".{letter}": 1 for letter in "abcdefgh"}
    assert describe_left_out(many) == "8 files left out: 1 .a, 1 .b, 1 .c, 1 .d, 1 .e, 1 .f, 2 others"


@pytest.mark.parametrize("ending", ["HEIC", "heif", "hif", "jxl", "nef", "CR2", "dng"])
def test_photos_that_need_more_than_pillow_are_listed(tmp_path, ending):
    assert rows(listed(tmp_path, f"a.{ending}"), "path") == [(f"a.{ending}",)]
