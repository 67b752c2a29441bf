"""``pnmtile schema``: the JSON Schema of a description."""

from spec.schema import description_schema
from tools.console import emit

__all__ = ["schema"]


def schema() -> None:
    """Write the JSON Schema of a description to stdout, for editors."""
    emit(description_schema())
