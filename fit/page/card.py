"""The model card of a head: README.md, with the sections that people know from model cards.

Mitchell et al. 2019, Model Cards for Model Reporting, and the template of Hugging Face. What only people know is left for
them to fill in, and says so.
"""

import re

from fit.page.content import Content
from fit.page.render import page_templates

_MARKUP = re.compile(r"([\\`*_\[\]<>#|~$&])")


def model_card(content: Content) -> str:
    """The text of README.md: Markdown."""
    return render_card("card.md", content)


def render_card(template: str, content: object) -> str:
    """The Markdown of a file beside this module, which gets `content` as `page`."""
    templates = page_templates().overlay(autoescape=False)  # Markdown has an escape of its own: the filter text
    templates.filters["text"] = markdown_text
    return templates.get_template(template).render(page=content)


def markdown_text(text: str) -> str:
    """Text in which Markdown and HTML mean nothing."""
    return _MARKUP.sub(r"\\\1", text)
