"""docs/reliability.md: every test that it names is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NAMED = sorted(set(re.findall(r"`(tests/[\w/.]+)::(\w+)`", (ROOT / "docs" / "reliability.md").read_text())))


def test_the_document_names_tests():
    assert len(NAMED) > 20


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_the_document_names_is_there(file, name):
    assert f"\ndef {name}(" in (ROOT / file).read_text()
