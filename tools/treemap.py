"""A treemap of a synthesised design: each unit a box whose area is its share, as SVG.

Boxes are laid out by the squarified treemap of Bruls, Huizing and van Wijk (2000). Memories are
hatched: their areas are estimates, or those of macros, and no synthesised logic.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from tools.synthesis_report import SynthesisReport

__all__ = ["treemap"]

WIDTH, HEIGHT = 1200, 800
_HEAD, _EDGE, _TOP = 16.0, 2.0, 34.0
_INK = "#1f2933"
# Fill and line of the units of the top, in turn; memories stand out by their hatching.
_COLOURS = (("#e6edf5", "#486581"), ("#efe9f7", "#6b46a8"), ("#fdf3dc", "#b7791f"),
            ("#e3f4ec", "#2f855a"), ("#fbe6e3", "#b83a2b"), ("#f5f7fa", "#3e4c59"))
_LETTER = 0.62  # Width of a letter over its height, about.

_Place = tuple[float, float, float, float]  # Corner, width and height.


@dataclass
class _Box:
    """A unit, or its own logic or memory; ``size`` includes the boxes inside."""

    name: str
    size: float
    memory: bool = False
    inside: list["_Box"] = field(default_factory=list)


def treemap(report: SynthesisReport) -> str:
    """The drawing as a file's text; the same report gives the same bytes."""
    root = _boxes(report)
    title = (f"{report.top}: {report.total.total_ge:,.0f} GE of logic, "
             f"{report.total.total_memory_ge:,.0f} GE of memory (hatched)")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" role="img" font-family="DejaVu Sans, Verdana, sans-serif">',
        f"  <title>{escape(title)}</title>",
        '  <defs><pattern id="memory" width="6" height="6" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><path d="M0,0 V6" stroke="#7b8794" stroke-width="1.2" '
        'stroke-opacity="0.5"/></pattern></defs>',
        f'  <rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        _text(10, 22, f"{title}; library {report.library}", 14, _INK, bold=True)]
    for place, (box, where) in enumerate(_squarified(
            root.inside, (8, _TOP, WIDTH - 16, HEIGHT - _TOP - 8))):
        _draw(parts, box, where, place % len(_COLOURS), 0)
    return "\n".join([*parts, "</svg>", ""])


def _boxes(report: SynthesisReport) -> _Box:
    """The units as boxes; equal siblings, one row of the report, are one box."""
    stack: list[_Box] = []
    for row in report.units:
        times = f" x {row.instances}" if row.instances > 1 else ""
        box = _Box(row.path.rpartition(".")[2] + times, row.total_ge + row.total_memory_ge)
        own = [_Box("own logic" if row.depth else "top", row.own_ge),
               _Box("memory", row.own_memory_ge, memory=True)]
        box.inside = [one for one in own if one.size > 0]
        del stack[row.depth:]
        if stack and box.size > 0:
            stack[-1].inside.append(box)
        stack.append(box)
    return stack[0]


def _squarified(boxes: Sequence[_Box], where: _Place) -> list[tuple[_Box, _Place]]:
    """Place boxes in a rectangle, largest first, in rows that are as square as they can be."""
    x, y, width, height = where
    left = sorted((box for box in boxes if box.size > 0), key=lambda box: (-box.size, box.name))
    whole = sum(box.size for box in left)
    if not left or width <= 0 or height <= 0:
        return []
    scale = width * height / whole
    placed: list[tuple[_Box, _Place]] = []
    while left:
        side = min(width, height)
        row = [left[0]]
        for box in left[1:]:
            if _worst([*row, box], side, scale) > _worst(row, side, scale):
                break
            row.append(box)
        del left[:len(row)]
        thick = sum(box.size for box in row) * scale / side
        along = 0.0
        for box in row:
            length = box.size * scale / thick
            placed.append((box, (x, y + along, thick, length) if width >= height else
                           (x + along, y, length, thick)))
            along += length
        if width >= height:
            x, width = x + thick, width - thick
        else:
            y, height = y + thick, height - thick
    return placed


def _worst(row: Sequence[_Box], side: float, scale: float) -> float:
    """The least square ratio of sides in a row along ``side``."""
    thick = sum(box.size for box in row) * scale / side
    return max(max(thick * thick / (box.size * scale), box.size * scale / (thick * thick))
               for box in row)


def _draw(parts: list[str], box: _Box, where: _Place, colour: int, depth: int) -> None:
    x, y, width, height = where
    fill, line = _COLOURS[colour]
    single = len(box.inside) == 1 and not box.inside[0].inside
    memory = box.memory or single and box.inside[0].memory
    parts.append(f'  <rect x="{_px(x)}" y="{_px(y)}" width="{_px(width)}" height="{_px(height)}" '
                 f'fill="{fill}" stroke="{line}" stroke-width="{2 if depth == 0 else 1}">'
                 f"<title>{escape(box.name)}: {box.size:,.0f} GE</title></rect>")
    if memory:
        parts.append(f'  <rect x="{_px(x)}" y="{_px(y)}" width="{_px(width)}" '
                     f'height="{_px(height)}" fill="url(#memory)"/>')
    label, size = _label(box, width - 2 * _EDGE - 4) if height >= _HEAD else ("", 0)
    if label:
        parts.append(_text(x + _EDGE + 2, y + 12, label, size, _INK, bold=depth == 0))
    if single or not box.inside:
        return
    head = _HEAD if label else _EDGE
    for inner, at in _squarified(box.inside, (x + _EDGE, y + head, width - 2 * _EDGE,
                                              height - head - _EDGE)):
        _draw(parts, inner, at, colour, depth + 1)


def _label(box: _Box, room: float) -> tuple[str, float]:
    """What of name and area fits, and how large."""
    for text, size in ((f"{box.name}  {box.size:,.0f} GE", 11), (box.name, 11), (box.name, 8)):
        if len(text) * size * _LETTER <= room:
            return text, size
    return "", 0


def _text(x: float, y: float, text: str, size: float, fill: str, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (f'  <text x="{_px(x)}" y="{_px(y)}" font-size="{_px(size)}" fill="{fill}"{weight}>'
            f"{escape(text)}</text>")


def _px(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
