import os

from hypothesis import example, given
from hypothesis import strategies as st

from store.files.names import file_path, printable, row_name

components = st.binary(min_size=1, max_size=12).filter(lambda name: b"\0" not in name and b"/" not in name)
paths = st.lists(components, min_size=1, max_size=4).map(lambda parts: os.fsdecode(b"/".join(parts)))


@given(paths)
@example(os.fsdecode(b"\xc3/\xa9"))
@example(os.fsdecode(b"\\xc3\\xa9"))
@example(os.fsdecode(b"\\\xff\\\\x41"))
def test_a_row_name_leads_back_to_its_file(path):
    assert file_path(row_name(path)) == path


@given(paths)
def test_a_row_name_can_be_written_as_utf8(path):
    assert row_name(path).encode().decode() == row_name(path)


@given(st.lists(paths, min_size=2, max_size=2, unique=True))
@example(["\\xff", "\udcff"])
@example(["\\\\", "\\"])
def test_two_files_never_share_a_row_name(two):
    assert row_name(two[0]) != row_name(two[1])


@given(paths)
def test_folders_stay_folders(path):
    assert row_name(path).count("/") == path.count("/")


def test_ordinary_names_are_kept_as_they_are():
    for name in ("cat/1.png", "büro/猫.jpg", 'with "quotes"\nand a newline.png', "a b.png"):
        assert row_name(name) == name


def test_stray_bytes_and_backslashes_are_escaped():
    assert row_name(os.fsdecode(b"caf\xe9\\1.png")) == r"caf\xe9\\1.png"


@given(st.text(max_size=30) | paths)
def test_printable_gives_one_line_of_printable_characters(text):
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown.splitlines()) == (1 if text else 0)


def test_printable_escapes_what_a_terminal_would_act_on():
    assert printable("a\n\x1b[31mb\u202ec\udcff") == r"a\n\x1b[31mb\u202ec\udcff"
    assert printable("büro 猫") == "büro 猫"
