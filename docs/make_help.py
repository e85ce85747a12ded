"""Writes docs/help.md: the help of every command, taken from the apps themselves."""

from pathlib import Path

import typer

from cli import extract_app, fit_app, store_app

PAGE = Path(__file__).with_name("help.md")
_WIDTH = 110


def help_page() -> str:
    """The whole page, in Markdown."""
    sections = ["# The commands\n\nWritten by `make docs` from the commands themselves; a test keeps it current.\n"]
    for name, app in (("extract", extract_app), ("fit", fit_app), ("store", store_app)):
        group = typer.main.get_command(app)
        context = typer.Context(group, info_name=name, terminal_width=_WIDTH)
        sections.append(f"## {name}\n\n```\n{group.get_help(context)}\n```\n")
        for command_name, command in getattr(group, "commands", {}).items():
            inner = typer.Context(command, info_name=command_name, parent=context, terminal_width=_WIDTH)
            sections.append(f"### {name} {command_name}\n\n```\n{command.get_help(inner)}\n```\n")
    return "\n".join(sections)


if __name__ == "__main__":
    PAGE.write_text(help_page(), encoding="utf-8")
