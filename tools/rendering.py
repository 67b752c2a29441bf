"""Text files from the templates of ``tools/templates`` and ``constraints``."""

from pathlib import Path
from typing import Any

__all__ = ["render_template"]

_PROJECT = Path(__file__).resolve().parent.parent
_FOLDERS = (_PROJECT / "tools" / "templates", _PROJECT / "constraints")


def render_template(template: str, **values: Any) -> str:
    """Fill in a template with ``values``; a name that it asks for and that is missing raises."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(loader=FileSystemLoader(_FOLDERS), undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
                              autoescape=False)
    return environment.get_template(template).render(**values)
