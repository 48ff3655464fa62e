"""Fill the templates of the pages, which lie beside this module."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


@cache
def _environment() -> Environment:
    """Return what reads the templates.

    Every value is escaped that is not made by a template. A name that a template misses is an
    error.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("forkhouse.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["place"] = _place
    return environment


def _place(value: float) -> str:
    """Return a coordinate of a drawing."""
    return f"{value:.1f}"


def render(template: str, **values: object) -> Markup:
    """Return a filled template, which other templates take as it is."""
    from markupsafe import Markup

    # Escaped there.
    return Markup(_environment().get_template(template).render(values))  # noqa: S704


def render_page(template: str, **values: object) -> str:
    """Return a filled template, as mere text for a file."""
    return str(render(template, **values))
