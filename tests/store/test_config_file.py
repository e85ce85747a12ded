"""--config: what a file gives a command, and the file that a store was made with."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.config_file import read_config, write_config
from store.errors import UsageError

NAMES = {"image_size": "image_size", "layer": "layers", "out": "out", "limit": "limit"}

values = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(exclude_categories=["Cs"]))


def read(tmp_path, text, command="extract run"):
    (tmp_path / "job.toml").write_text(text, encoding="utf-8")
    return read_config(tmp_path / "job.toml", command, NAMES)


def test_a_table_is_for_one_command_and_wins_over_the_keys_above_it(tmp_path):
    text = 'out = "a"\nimage-size = 96\n[extract.run]\nout = "b"\nlayer = ["x", "y"]\n[fit.head]\nnothing = 1\n'
    assert read(tmp_path, text) == {"out": "b", "image_size": 96, "layers": ["x", "y"]}
    assert read(tmp_path, text, "extract classify") == {"out": "a", "image_size": 96}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("limt = 3", r"`extract run` has no option limt: did you mean limit\?"),
        ("zzz = 3", "`extract run --help` lists the options"),
        ("limit = ", "job.toml is not TOML"),
        ("[extract]\nrun = 3", r"run in \[extract\] is not a table"),
        ("[run]\nlimit = 3", r"unknown table \[run\]"),
        ("extract = 3", r"is not a table"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, text, words):
    with pytest.raises(UsageError, match=words):
        read(tmp_path, text)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read .*none.toml: No such file"):
        read_config(tmp_path / "none.toml", "extract run", NAMES)


@given(st.dictionaries(st.sampled_from(sorted(NAMES)), values | st.lists(values).map(tuple)))
def test_what_is_written_is_read(tmp_path_factory, given_values):
    folder = tmp_path_factory.mktemp("config")
    found = read(folder, write_config(given_values, "extract run"))
    assert found == {
        NAMES[name]: list(value) if isinstance(value, tuple) else value for name, value in given_values.items()
    }
