"""Pages for a browser, made from the Jinja templates in `templates`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).with_name("templates")
_ENVIRONMENT = Environment(
    loader=FileSystemLoader(TEMPLATES),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def make_page(template: str, **values: Any) -> Iterator[str]:
    """Yield the text of a page in parts, so that a long page is never in memory as a whole.

    Args:
        template: The name of a file in `templates`.
        **values: The values of the template's variables. Text is shown as it is: &, <, > and quotes are escaped.

    Raises:
        jinja2.UndefinedError: The template has a variable that is not in `values`.
    """
    return _ENVIRONMENT.get_template(template).generate(values)
