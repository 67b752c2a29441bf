"""Boolean functions as Liberty writes them."""

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["evaluate", "names", "truth_table"]

_TOKEN = re.compile(r"\s*([A-Za-z_]\w*(?:\[\d+\])?|[01]|[!()'&*|+^])")


def truth_table(expression: str, inputs: list[str]) -> int:
    """The truth table of an expression: bit ``i`` is its value where input ``k`` is bit k of ``i``.

    Liberty's operators, from the tightest: ``!a`` and ``a'``, ``^``, ``& *`` or a blank, ``| +``.
    ``ValueError`` for anything else, and for names that are no inputs.
    """
    ones = (1 << (1 << len(inputs))) - 1
    values = {"0": 0}
    for number, name in enumerate(inputs):
        values[name] = sum(1 << row for row in range(1 << len(inputs)) if row >> number & 1)
    value: int = evaluate(expression, values, ones)
    return value


def evaluate(expression: str, values: Mapping[str, Any], ones: Any) -> Any:
    """The value of an expression, made with ``&``, ``|`` and ``^`` of whatever ``values`` holds.

    ``ones`` is 1: what an exclusive or with it negates; ``values["0"]`` is 0, where it may stand.
    Errors are those of :func:`truth_table`.
    """
    tokens = _tokens(expression)
    tokens.reverse()  # Read from the end of the list.
    value = _either(tokens, {**values, "1": ones}, ones)
    if tokens:
        raise ValueError(f"cannot read {expression!r}")
    return value


def names(expression: str) -> set[str]:
    """The names that stand in an expression; ``ValueError`` when it cannot be read."""
    return {token for token in _tokens(expression) if token[0].isalpha() or token[0] == "_"}


def _tokens(expression: str) -> list[str]:
    tokens: list[str] = []
    place, expression = 0, expression.strip()
    while place < len(expression):
        match = _TOKEN.match(expression, place)
        if match is None:
            raise ValueError(f"cannot read {expression!r}")
        tokens.append(match[1])
        place = match.end()
    return tokens


def _either(tokens: list[str], values: dict[str, Any], ones: Any) -> Any:
    value = _both(tokens, values, ones)
    while tokens and tokens[-1] in "|+":
        tokens.pop()
        value |= _both(tokens, values, ones)
    return value


def _both(tokens: list[str], values: dict[str, Any], ones: Any) -> Any:
    value = _differ(tokens, values, ones)
    while tokens and tokens[-1] not in "|+)":
        if tokens[-1] in "&*":
            tokens.pop()
        value &= _differ(tokens, values, ones)
    return value


def _differ(tokens: list[str], values: dict[str, Any], ones: Any) -> Any:
    value = _single(tokens, values, ones)
    while tokens and tokens[-1] == "^":
        tokens.pop()
        value ^= _single(tokens, values, ones)
    return value


def _single(tokens: list[str], values: dict[str, Any], ones: Any) -> Any:
    token = tokens.pop() if tokens else ""
    if token == "!":
        value = ones ^ _single(tokens, values, ones)
    elif token == "(":
        value = _either(tokens, values, ones)
        if not tokens or tokens.pop() != ")":
            raise ValueError("a parenthesis is not closed")
    elif token in values:
        value = values[token]
    else:
        raise ValueError(f"{token!r} is no input")
    while tokens and tokens[-1] == "'":
        tokens.pop()
        value ^= ones
    return value
