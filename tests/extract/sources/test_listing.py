"""DATA -> listing: layouts of folders, odd names, links, tables, and what is refused."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from extract.images.decode import BadImage
from extract.sources.folder import IMAGE_ENDINGS
from extract.sources.listing import find_images, list_data
from store.errors import EnvironmentFailure, UsageError
from store.files.names import file_path
from store.plan import LISTING_SCHEMA
from tests.extract.sources.build import table
from tests.stub import read_file


def put(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"bytes")


def rows(listing, *columns):
    return list(zip(*(listing.table[name].to_pylist() for name in columns), strict=True))


def paths(listing):
    return listing.table["path"].to_pylist()


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


# Folders


def test_the_first_folder_is_the_label(data):
    put(data, "cat/1.png", "cat/deep/2.png", "dog/3.png")
    listing = list_data(data)
    assert rows(listing, "path", "label", "split", "group") == [
        ("cat/1.png", "cat", None, None),
        ("cat/deep/2.png", "cat", None, None),
        ("dog/3.png", "dog", None, None),
    ]
    assert listing.table.schema == LISTING_SCHEMA
    assert listing.root == str(data)


def test_split_folders_come_before_class_folders(data):
    put(data, "train/cat/1.png", "val/cat/2.png", "validation/dog/3.png", "test/dog/4.png")
    assert rows(list_data(data), "path", "label", "split") == [
        ("test/dog/4.png", "dog", "test"),
        ("train/cat/1.png", "cat", "train"),
        ("val/cat/2.png", "cat", "validation"),
        ("validation/dog/3.png", "dog", "validation"),
    ]


def test_split_folders_without_classes_have_no_labels(data):
    put(data, "train/1.png", "test/2.png")
    assert rows(list_data(data), "label", "split") == [(None, "test"), (None, "train")]


def test_split_names_without_train_are_classes(data):
    put(data, "test/cat/1.png", "val/cat/2.png")
    assert rows(list_data(data), "label", "split") == [("test", None), ("val", None)]


def test_split_names_beside_another_folder_are_classes(data):
    put(data, "train/cat/1.png", "test/cat/2.png", "planes/3.png")
    assert rows(list_data(data), "label", "split") == [("planes", None), ("test", None), ("train", None)]


def test_split_names_beside_an_image_are_classes(data):
    put(data, "train/cat/1.png", "0.png")
    assert rows(list_data(data), "label", "split") == [(None, None), ("train", None)]


def test_a_folder_without_images_does_not_spoil_the_split_layout(data):
    put(data, "train/cat/1.png", "test/cat/2.png", "docs/readme.txt")
    assert rows(list_data(data), "label", "split") == [("cat", "test"), ("cat", "train")]


def test_images_alone_have_no_labels(data):
    put(data, "b.png", "a.jpg")
    assert rows(list_data(data), "path", "label", "split") == [("a.jpg", None, None), ("b.png", None, None)]


def test_images_beside_class_folders_have_no_label(data):
    put(data, "a.png", "cat/b.png")
    assert rows(list_data(data), "path", "label") == [("a.png", None), ("cat/b.png", "cat")]


def test_hidden_files_and_folders_are_skipped_and_not_counted(data):
    put(data, "a.png", ".b.png", ".thumbnails/c.png", "cat/.d.png", ".DS_Store")
    listing = list_data(data)
    assert paths(listing) == ["a.png"]
    assert listing.others == 0


def test_files_with_other_endings_are_counted(data):
    put(data, "a.png", "labels.csv", "cat/notes.txt", "cat/README", "cat/b.png.bak")
    listing = list_data(data)
    assert paths(listing) == ["a.png"]
    assert listing.others == 4


def test_endings_match_in_any_case(data):
    put(data, "a.PNG", "b.Jpg", "c.tIfF")
    assert paths(list_data(data)) == ["a.PNG", "b.Jpg", "c.tIfF"]


def test_every_image_ending_is_listed(data):
    put(data, *(f"image{ending}" for ending in IMAGE_ENDINGS))
    assert len(list_data(data)) == len(IMAGE_ENDINGS)


def test_size_and_time_are_the_files_own(data):
    put(data, "a.png")
    os.utime(data / "a.png", ns=(5, 1_234_567_890_123))
    assert rows(list_data(data), "size", "time") == [(5, 1_234_567_890_123)]


def test_a_relative_folder_is_listed(data, monkeypatch):
    put(data, "cat/a.png")
    monkeypatch.chdir(data)
    assert paths(list_data(".")) == ["cat/a.png"]


# Links


def test_links_to_files_and_folders_are_followed(data, tmp_path):
    put(tmp_path, "elsewhere/cat/a.png", "single.png")
    (data / "cat").symlink_to(tmp_path / "elsewhere" / "cat")
    (data / "b.png").symlink_to(tmp_path / "single.png")
    assert rows(list_data(data), "path", "label", "size") == [("b.png", None, 5), ("cat/a.png", "cat", 5)]


def test_data_itself_may_be_a_link(data, tmp_path):
    put(data, "a.png")
    (tmp_path / "link").symlink_to(data)
    assert paths(list_data(tmp_path / "link")) == ["a.png"]


def test_a_link_to_a_folder_above_itself_ends(data):
    put(data, "cat/a.png")
    (data / "cat" / "up").symlink_to(data)
    (data / "self").symlink_to(".")
    assert paths(list_data(data)) == ["cat/a.png"]


def test_folders_that_link_to_each_other_end(data):
    put(data, "a/1.png", "b/2.png")
    (data / "a" / "to_b").symlink_to(data / "b")
    (data / "b" / "to_a").symlink_to(data / "a")
    assert paths(list_data(data)) == ["a/1.png", "a/to_b/2.png", "b/2.png", "b/to_a/1.png"]


def test_dangling_links_with_an_image_ending_are_listed(data):
    put(data, "a.png")
    (data / "gone.png").symlink_to("nowhere.png")
    (data / "gone.txt").symlink_to("nowhere.txt")
    listing = list_data(data)
    assert rows(listing, "path", "size", "time")[1] == ("gone.png", -1, -1)
    assert listing.others == 1


def test_a_link_to_itself_is_listed(data):
    (data / "loop.png").symlink_to("loop.png")
    assert rows(list_data(data), "path", "size") == [("loop.png", -1)]


@pytest.fixture
def deepest(data):
    """A folder deeper than Python recurses; taken away level by level, for pytest's own way recurses."""
    folder = data
    try:
        for _ in range(sys.getrecursionlimit() + 100):
            folder /= "d"
            folder.mkdir()
        yield folder
    finally:
        while folder != data:
            shutil.rmtree(folder)
            folder = folder.parent


def test_folders_may_lie_deeper_than_python_recurses(data, deepest):
    put(deepest, "a.png")
    assert paths(list_data(data)) == [(deepest / "a.png").relative_to(data).as_posix()]


# Names

ODD_NAMES = [
    "new\nline.png",
    "quote\"'.png",
    "cat \N{CAT FACE}.png",
    "\x1b[31mred.png",
    "back\\slash.png",
    "\\x41.png",
    "comma,semicolon;.png",
    " space .png",
    "e\N{COMBINING ACUTE ACCENT}.png",
    "\N{LATIN SMALL LETTER E WITH ACUTE}.png",
    os.fsdecode(b"stray \xff\xe9.png"),
]


@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
def test_a_file_with_an_odd_name_is_a_row_and_can_be_read(data, name):
    put(data, name)
    (listed,) = paths(list_data(data))
    assert file_path(listed) == name
    listed.encode()
    assert read_file(data / file_path(listed)).data == b"bytes"


def test_names_that_are_not_utf8_are_escaped(data):
    put(data, os.fsdecode(b"caf\xe9/a\xff.png"), "b\\c.png")
    assert rows(list_data(data), "path", "label") == [("b\\\\c.png", None), ("caf\\xe9/a\\xff.png", "caf\\xe9")]


FILE_NAMES = st.text(st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1, max_size=8)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sets(FILE_NAMES.map(lambda name: f"x{name}.png"), min_size=1, max_size=8))
def test_the_table_is_sorted_and_does_not_depend_on_the_order_of_creation(examples, names):
    orders = [sorted(names), examples.draw(st.permutations(sorted(names)))]
    tables = []
    for order in orders:
        with tempfile.TemporaryDirectory() as folder:
            put(Path(folder), *order)
            for name in order:
                os.utime(Path(folder) / name, ns=(1, 1))
            tables.append(list_data(folder).table)
    assert tables[0].equals(tables[1])
    listed = tables[0]["path"].to_pylist()
    assert listed == sorted(listed, key=str.encode)
    assert {file_path(name) for name in listed} == names


# Include and exclude


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        (["*.jpg"], [], ["cat/a.jpg", "dog/b.jpg"]),
        (["cat/*"], [], ["cat/a.jpg", "cat/c.png"]),
        ([], ["cat/*"], ["dog/b.jpg"]),
        (["*.jpg"], ["b.*"], ["cat/a.jpg"]),
        (["a.jpg", "c.png"], [], ["cat/a.jpg", "cat/c.png"]),
        (["[ab].jpg"], [], ["cat/a.jpg", "dog/b.jpg"]),
    ],
)
def test_patterns_match_the_path_or_the_file_name(data, include, exclude, expected):
    put(data, "cat/a.jpg", "cat/c.png", "dog/b.jpg")
    assert paths(list_data(data, include, exclude)) == expected


def test_patterns_leave_labels_and_splits_as_the_whole_folder_gives_them(data):
    put(data, "train/cat/1.png", "test/cat/2.png")
    assert rows(list_data(data, include=["test/*"]), "label", "split") == [("cat", "test")]


def test_patterns_that_leave_nothing_are_refused(data):
    put(data, "a.png")
    with pytest.raises(UsageError, match="none of the 1 images"):
        list_data(data, exclude=["*"])


def test_patterns_hold_for_tables_too(tmp_path):
    table(tmp_path, "path\na.png\nb.jpg\n")
    assert paths(list_data(tmp_path / "table.csv", include=["*.jpg"])) == ["b.jpg"]


# Tables


def test_a_csv_table_is_listed_relative_to_itself(tmp_path):
    put(tmp_path, "images/b.png", "images/a.png")
    path = table(tmp_path, "path,label,split,group\nimages/b.png,dog,val,g1\nimages/a.png,cat,train,g2\n")
    listing = list_data(path)
    assert rows(listing, "path", "label", "split", "group", "size") == [
        ("images/a.png", "cat", "train", "g2", 5),
        ("images/b.png", "dog", "validation", "g1", 5),
    ]
    assert listing.table.schema == LISTING_SCHEMA
    assert listing.root == str(tmp_path)


def test_a_parquet_table_is_listed_like_a_csv_table(tmp_path):
    columns = {"path": ["b.png", "a.png"], "label": ["x", None], "split": ["test", "train"]}
    as_csv = list_data(table(tmp_path, "path,label,split\nb.png,x,test\na.png,,train\n"))
    as_parquet = list_data(table(tmp_path, columns, "table.parquet"))
    assert as_parquet.table.equals(as_csv.table)


def test_only_the_column_path_is_needed(tmp_path):
    listing = list_data(table(tmp_path, "path\na.png\n"))
    assert rows(listing, "path", "label", "split", "group") == [("a.png", None, None, None)]


def test_other_columns_are_ignored(tmp_path):
    assert paths(list_data(table(tmp_path, b"score,path,note\n1.5,a.png,caf\xe9\n"))) == ["a.png"]


def test_empty_texts_are_absent(tmp_path):
    absent = [("a.png", None, None, None)]
    columns = ("path", "label", "split", "group")
    assert rows(list_data(table(tmp_path, 'path,label,split,group\na.png,,"",\n')), *columns) == absent
    parquet = {"path": ["a.png"], "label": [""], "split": [""], "group": [""]}
    assert rows(list_data(table(tmp_path, parquet, "table.parquet")), *columns) == absent


def test_a_column_of_nulls_without_a_type_is_absent(tmp_path):
    path = table(tmp_path, {"path": ["a.png"], "label": pa.nulls(1)}, "table.parquet")
    assert rows(list_data(path), "label") == [(None,)]


def test_integer_labels_become_text_and_zeros_in_front_stay(tmp_path):
    assert rows(list_data(table(tmp_path, "path,label\na.png,007\n")), "label") == [("007",)]
    path = table(tmp_path, {"path": ["a.png"], "label": pa.array([7], pa.int16())}, "table.parquet")
    assert rows(list_data(path), "label") == [("7",)]


def test_a_label_that_looks_absent_stays(tmp_path):
    assert rows(list_data(table(tmp_path, "path,label\na.png,NA\nb.png,null\n")), "label") == [("NA",), ("null",)]


def test_a_dictionary_column_is_text(tmp_path):
    path = table(tmp_path, {"path": ["a.png"], "label": pa.array(["cat"]).dictionary_encode()}, "table.parquet")
    assert rows(list_data(path), "label") == [("cat",)]


def test_quoted_fields_may_hold_newlines_commas_and_quotes(tmp_path):
    path = table(tmp_path, 'path,label\n"a\nb.png","x, ""y"""\n')
    assert rows(list_data(path), "path", "label") == [("a\nb.png", 'x, "y"')]


def test_a_byte_order_mark_and_windows_line_ends_are_read_over(tmp_path):
    path = table(tmp_path, b"\xef\xbb\xbfpath,label\r\na.png,cat\r\n")
    assert rows(list_data(path), "path", "label") == [("a.png", "cat")]


def test_paths_are_normalized(tmp_path):
    put(tmp_path, "cat/a.png")
    assert rows(list_data(table(tmp_path, "path\n./dog/../cat//a.png\n")), "path", "size") == [("cat/a.png", 5)]


def test_what_follows_a_link_is_left_to_the_system(tmp_path):
    put(tmp_path, "elsewhere/b.png", "cat/a.png")
    (tmp_path / "elsewhere" / "deep").mkdir()
    (tmp_path / "cat" / "link").symlink_to(tmp_path / "elsewhere" / "deep")
    listed = list_data(table(tmp_path, "path\ncat/./link/../b.png\ncat/none/../a.png\n"))
    assert rows(listed, "path", "size") == [("cat/a.png", 5), ("cat/link/../b.png", 5)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["", ".", "..", "a", "b"]), min_size=1, max_size=6).map("/".join))
def test_without_links_paths_are_normalized_as_python_does(name):
    assume(name and not name.startswith("/"))
    with tempfile.TemporaryDirectory() as folder:
        listed = list_data(table(Path(folder), {"path": [name]}, "table.parquet"))
    assert paths(listed) == [os.path.normpath(name)]


def test_a_backslash_in_a_path_is_part_of_the_name(tmp_path):
    put(tmp_path, "a\\b.png")
    assert rows(list_data(table(tmp_path, "path\na\\b.png\n")), "path", "size") == [("a\\\\b.png", 5)]


def test_a_file_that_is_not_there_is_listed(tmp_path):
    path = table(tmp_path, "path\ngone.png\n" + "a" * 300 + ".png\n")
    assert rows(list_data(path), "size", "time") == [(-1, -1), (-1, -1)]


def test_a_path_may_have_any_ending(tmp_path):
    assert paths(list_data(table(tmp_path, "path\nimage.bin\nimage\n"))) == ["image", "image.bin"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("path\na.png\nb.png\na.png\n", "names a.png more than once"),
        ("path\na.png\n./a.png\n", "names a.png more than once"),
        ("file,label\na.png,cat\n", "has the columns file, label: expected one named path"),
        ("path|label\na.png|cat\n", "expected one named path"),
        ("path,path\na.png,b.png\n", "expected each name once"),
        ("path,label,label\na.png,x,y\n", "expected each name once"),
        ("path,split\na.png,train\nb.png,holdout\n", "row 2 .* has split 'holdout'"),
        ("path,label\na.png,x\n,y\n", "row 2 .* has no path"),
        ("path,label\na.png\n", "cannot read the table .*Expected 2 columns, got 1"),
        ("", "cannot read the table"),
        ("path\n", "no images in the table"),
        (b"path,label\na.png,caf\xe9\n", "expected a header line and UTF-8 text"),
        (b"path,caf\xe9\na.png,x\n", "expected a header line and UTF-8 text"),
        (b"path\na\0b.png\n", "NUL character"),
        (b"path,label\na.png,x\0y\n", "column label .* NUL character"),
    ],
)
def test_a_malformed_csv_table_is_refused(tmp_path, content, said):
    with pytest.raises(UsageError, match=said):
        list_data(table(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"file": ["a.png"]}, "expected one named path"),
        ({"path": [1.5]}, "column path .* is double, expected text"),
        ({"path": ["a.png"], "split": [True]}, "column split .* is bool, expected text"),
        ({"path": ["a.png", None]}, "row 2 .* has no path"),
        ({"path": ["a.png", "a.png"]}, "more than once"),
        ({"path": pa.array([b"\xff.png"]).view(pa.string())}, "UTF-8"),
        (b"not Parquet", "cannot read the table"),
    ],
)
def test_a_malformed_parquet_table_is_refused(tmp_path, content, said):
    with pytest.raises(UsageError, match=said):
        list_data(table(tmp_path, content, "table.parquet"))


# What else is refused


def test_a_folder_without_images_is_refused_and_says_what_is_there(data):
    with pytest.raises(UsageError, match="no images under"):
        list_data(data)
    put(data, "a.txt", "b.pdf")
    with pytest.raises(UsageError, match=r"2 files left out: 1 \.pdf, 1 \.txt"):
        list_data(data)


def test_data_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UsageError, match="there is no"):
        list_data(tmp_path / "nowhere")


def test_a_file_that_is_no_table_is_refused(tmp_path):
    put(tmp_path, "a.png")
    with pytest.raises(UsageError, match="expected a folder of images, or a"):
        list_data(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("file:///data", "file:///data: name a local folder by its path, /data"),
        ("s4://bucket", "expected s3://, gs://"),
    ],
)
def test_a_url_of_no_object_store_is_refused(url, said):
    with pytest.raises(UsageError, match=said):
        list_data(url)


def test_a_folder_that_cannot_be_listed_ends_the_run(data, monkeypatch):
    put(data, "cat/a.png", "locked/b.png")
    real = os.scandir

    def scandir(folder):
        if Path(folder).name == "locked":
            raise PermissionError(13, "Permission denied", str(folder))
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(EnvironmentFailure, match=r"cannot list .*locked: Permission denied") as caught:
        list_data(data)
    assert caught.value.exit_code == 74


UNPRIVILEGED = """
import os, sys
from extract.sources.listing import list_data
from store.errors import EnvironmentFailure
from tests.stub import read_file
folder = sys.argv[1]
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    list_data(folder)
except Exception as error:
    print(type(error).__name__, error.exit_code)
try:
    read_file(os.path.join(folder, "secret.png"))
except EnvironmentFailure as error:
    print(type(error).__name__, error.exit_code)
"""


def test_permissions_are_the_systems_own():
    folder = Path(tempfile.mkdtemp())  # pytest's own folders are closed to other users
    try:
        folder.chmod(0o755)
        put(folder, "a.png", "locked/b.png", "secret.png")
        (folder / "locked").chmod(0)
        (folder / "secret.png").chmod(0)
        process = subprocess.run(
            [sys.executable, "-c", UNPRIVILEGED, folder], capture_output=True, text=True, check=True, timeout=60
        )
        assert process.stdout.split("\n")[:2] == ["EnvironmentFailure 74", "EnvironmentFailure 74"]
    finally:
        (folder / "locked").chmod(0o755)
        shutil.rmtree(folder)


def test_what_was_listed_and_is_gone_fails_when_read(data):
    (data / "gone.png").symlink_to("nowhere.png")
    (listed,) = paths(list_data(data))
    with pytest.raises(BadImage, match="no such file"):
        read_file(data / file_path(listed))


# Files, folders, tables and patterns


def test_images_are_found_in_the_order_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(tmp_path, "data/b.png", "data/a.png", "data/notes.txt", "one.jpg")
    (tmp_path / "table.csv").write_text("path\ndata/b.png\n")
    assert find_images(["one.jpg", "data", "table.csv", "data/*.png", "missing.jpg"]) == [
        "one.jpg", "data/a.png", "data/b.png", "data/b.png", "data/a.png", "data/b.png", "missing.jpg"
    ]  # fmt: skip
    with pytest.raises(UsageError, match=r"no file matches '\*\.gif'"):
        find_images(["*.gif"])
    with pytest.raises(UsageError, match=r"there is no missing\.jpg, nor are the other files named"):
        find_images(["missing.jpg", "gone.png"])


def test_an_image_in_place_of_a_folder_is_named_in_a_command_that_runs(tmp_path):
    image = tmp_path / "my photo.png"
    image.write_bytes(b"")
    with pytest.raises(UsageError, match=r"`extract classify '.*/my photo\.png'` says what is in one image"):
        list_data(image)
