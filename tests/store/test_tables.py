"""Tables fit the terminal, and nothing in them is cut."""

import pytest

from store.tables import columns, display_width, facts, paragraph, terminal_width

ROWS = [
    ["", "validation", "test", "baseline"],
    ["accuracy", "0.939 (0.914..0.964)", "0.955 (0.933..0.975)", "0.103"],
    ["macro f1", "0.939 (0.912..0.962)", "0.955 (0.932..0.975)", "0.019"],
]


def test_a_table_that_fits_is_one_table():
    assert columns(ROWS, 80) == [
        "          validation            test                  baseline",
        "accuracy  0.939 (0.914..0.964)  0.955 (0.933..0.975)  0.103",
        "macro f1  0.939 (0.912..0.962)  0.955 (0.932..0.975)  0.019",
    ]


def test_a_wider_table_continues_below_with_the_same_names():
    assert columns(ROWS, 53) == [
        "          validation            test",
        "accuracy  0.939 (0.914..0.964)  0.955 (0.933..0.975)",
        "macro f1  0.939 (0.912..0.962)  0.955 (0.932..0.975)",
        "",
        "          baseline",
        "accuracy  0.103",
        "macro f1  0.019",
    ]


def test_a_name_is_never_cut_however_narrow_the_terminal():
    name = "a_class_with_a_name_that_is_wider_than_the_terminal"
    assert columns([[name, "1"], ["b", "2"]], 20) == [f"{name}  1", f"b{' ' * len(name)} 2"]
    assert columns([["名前", "1"], ["abcd", "2"]], 20) == ["名前  1", "abcd  2"]
    assert display_width("e\u0301") == 1


def test_text_wraps_in_its_own_column_or_below_the_name_where_there_is_no_room():
    assert facts([["a", "one two three"], ["bcd", "four"]], 12) == ["a    one two", "     three", "bcd  four"]
    assert facts([["a/very/long/path", "one two"]], 20) == ["a/very/long/path", "    one two"]
    assert facts([]) == []
    assert paragraph("one two three", 8) == ["one two", "three"]


def test_a_command_stays_on_one_line():
    assert paragraph("then `fit report 'my  head'` draws it", 16) == ["then", "`fit report 'my  head'`", "draws it"]
    assert facts([["a", "see `x y z` or w"]], 12) == ["a  see", "   `x y z`", "   or w"]


@pytest.mark.parametrize(("set_to", "width"), [("60", 60), ("20", 40), ("", 80)])
def test_the_width_is_the_terminals(set_to, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", set_to)
    assert terminal_width() == width
