"""The content of a page as HTML, in one file that needs no network.

Names of files and classes are hostile text. The template escapes everything; the data for the scripts is JSON without
`<`, which scripts put into the page as text alone; and a Content Security Policy lets nothing run but our own scripts, by
their hash, and nothing load but images inside the file.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from fit.page.charts import percent
from fit.page.content import Content

_SCRIPTS = ("page.js", "explore.js", "map.js")

_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
"""What would end a script element or a line of a script, as JSON writes it otherwise."""


def resource(name: str) -> str:
    """The text of a file beside this module."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def page_templates() -> Environment:
    """Templates from the files beside this module, which escape what they are given as HTML.

    A name that a template misspells is an error.
    """
    made = Environment(
        loader=FunctionLoader(resource),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    made.filters["percent"] = percent
    return made


def render_page(content: Content) -> str:
    """The whole page of a head."""
    return render_template("report.html", _SCRIPTS, content, page_data(content))


def render_template(template: str, scripts: Sequence[str], content: object, data: Mapping[str, object]) -> str:
    """A whole page.

    Args:
        template: a file beside this module, which gets `content` as `page`.
        scripts: files beside this module; page.js first.
        content: what the page says.
        data: what the scripts know.
    """
    style = resource("page.css")
    script = f"(() => {{\n{''.join(map(resource, scripts))}}})();\n"
    return (
        page_templates()
        .get_template(template)
        .render(
            page=content,
            policy=content_policy(style, script),
            style=Markup(style),  # noqa: S704  our own file
            script=Markup(script),  # noqa: S704  our own files
            data=Markup(script_data(data)),  # noqa: S704  has no `<` in it
        )
    )


def page_data(content: Content) -> dict[str, object]:
    """What the scripts know."""
    return {
        "classes": content.classes,
        "multi_label": content.multi_label,
        "reported": content.reported,
        **asdict(content.listed),
    }


def script_data(values: Mapping[str, object]) -> str:
    """JSON for a script element: nothing in it ends the element.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    text = json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return "".join(_ESCAPES.get(character, character) for character in text)


def content_policy(style: str, script: str) -> str:
    """The Content Security Policy of a page with this style and this script: nothing else runs, loads or is sent."""
    return (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
