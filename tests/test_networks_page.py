"""docs/networks.md shows the code and the file that errors show."""

from pathlib import Path

from extract.backbones.families import FAMILIES
from extract.backbones.folder import EXPORT, MODELS
from extract.backbones.processor import EXAMPLE

PAGE = (Path(__file__).parent.parent / "docs" / "networks.md").read_text(encoding="utf-8")


def test_the_page_shows_what_errors_show():
    indented = "".join(f"    {line}" if line.strip() else line for line in EXPORT.splitlines(keepends=True))
    assert indented in PAGE
    assert EXAMPLE in PAGE
    assert all(f"`{name}`" in PAGE for name in MODELS)


def test_the_page_names_families_with_their_default():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and line.count("|") == 6]
    for name, family in FAMILIES.items():
        named = [row for row in rows if f"`{name}`" in row]
        assert named and all(f"| `{family.default}` |" in row for row in named), name
    assert sum(row.count("`") for row in rows) > 40
