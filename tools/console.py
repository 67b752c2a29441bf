"""What every verb shares: errors that end it, text for people on stderr, JSON on stdout."""

import json
import sys
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["JsonOption", "NotHeld", "TileArgument", "UserError", "console", "emit", "say",
           "to_json"]

# The argument and the option that most verbs have.
TileArgument = Annotated[str, typer.Argument(metavar="TILE.toml", show_default=False,
                                             help="Description of the tile.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Write the result as JSON to stdout.")]


class UserError(Exception):
    """Input or surroundings that a verb cannot work with: it ends with exit code 2.

    The message says what was wrong, where, what is allowed and what to do.
    """


class NotHeld(Exception):
    """What was to be checked did not hold: the verb, having said why, ends with exit code 1."""


@cache
def console() -> "Console":
    """The console for people: stderr. Without a terminal, lines are 100 columns wide."""
    from rich.console import Console

    found = Console(stderr=True, highlight=False)
    return found if found.is_terminal else Console(stderr=True, highlight=False, width=100)


def say(text: str, style: str | None = None) -> None:
    """Print a line for people, as it is: no markup, no wrapping."""
    if style is None:
        print(text, file=sys.stderr)
    else:
        console().print(text, style=style, markup=False, soft_wrap=True)


def to_json(data: Mapping[str, Any]) -> str:
    """JSON with the order of keys kept; the same data gives the same text."""
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def emit(data: Mapping[str, Any]) -> None:
    """Write a result to stdout as JSON."""
    try:
        sys.stdout.write(to_json(data))
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads has seen enough; a shell says so with 128 + SIGPIPE.
        raise SystemExit(141) from None
    except OSError as error:
        raise UserError(f"cannot write to stdout: {error.strerror}") from None
