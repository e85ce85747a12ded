"""docs/help.md says what the commands say."""

from docs.make_help import PAGE, help_page


def test_the_help_page_is_current():
    assert PAGE.read_text(encoding="utf-8") == help_page(), "run `make docs`"
