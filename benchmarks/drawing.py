"""A small SVG drawing, in the colours of the documentation's figures."""

from xml.sax.saxutils import escape

__all__ = ["Drawing", "FILLS", "INK", "LINES", "MUTED", "STROKES"]

INK, MUTED, LINES = "#1f2933", "#52606d", "#7b8794"
FILLS = {"blue": "#e6edf5", "violet": "#efe9f7", "amber": "#fdf3dc", "green": "#e3f4ec",
         "red": "#fbe6e3", "grey": "#f5f7fa"}
STROKES = {"blue": "#486581", "violet": "#6b46a8", "amber": "#b7791f", "green": "#2f855a",
           "red": "#b83a2b", "grey": "#3e4c59"}


class Drawing:
    """Shapes on a white sheet of ``width`` x ``height`` pixels, so that dark pages show it too.

    The same calls give the same bytes.
    """

    def __init__(self, width: int, height: int, title: str, description: str) -> None:
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img" '
            'font-family="DejaVu Sans, Verdana, sans-serif">',
            f"  <title>{escape(title)}</title>",
            f"  <desc>{escape(description)}</desc>",
            '  <defs><marker id="arrow" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="7" '
            'markerHeight="7" orient="auto-start-reverse">'
            f'<path d="M0,0.6 L8,4 L0,7.4 z" fill="{LINES}"/></marker></defs>']
        self.rect(0, 0, width, height, fill="#ffffff", radius=10)

    def rect(self, x: float, y: float, width: float, height: float, *, fill: str = "none",
             stroke: str | None = None, radius: float = 0, dashed: bool = False,
             weight: float = 1.4) -> None:
        """A rectangle."""
        line = "" if stroke is None else f' stroke="{stroke}" stroke-width="{_px(weight)}"'
        dash = ' stroke-dasharray="6 4"' if dashed else ""
        round_ = f' rx="{_px(radius)}"' if radius else ""
        self._parts.append(f'  <rect x="{_px(x)}" y="{_px(y)}" width="{_px(width)}" '
                           f'height="{_px(height)}"{round_} fill="{fill}"{line}{dash}/>')

    def text(self, x: float, y: float, text: str, *, size: float = 11, fill: str = INK,
             anchor: str = "start", bold: bool = False) -> None:
        """One line of text; ``y`` is its base line."""
        weight = ' font-weight="bold"' if bold else ""
        self._parts.append(f'  <text x="{_px(x)}" y="{_px(y)}" font-size="{_px(size)}" '
                           f'fill="{fill}" text-anchor="{anchor}"{weight}>{escape(text)}</text>')

    def path(self, way: str, *, stroke: str = LINES, weight: float = 1.8, arrows: str = "",
             dashed: bool = False) -> None:
        """A line; ``arrows`` names its ends that have one: "start", "end" or "start end"."""
        heads = "".join(f' marker-{end}="url(#arrow)"' for end in arrows.split())
        dash = ' stroke-dasharray="3 3"' if dashed else ""
        self._parts.append(f'  <path d="{way}" fill="none" stroke="{stroke}" '
                           f'stroke-width="{_px(weight)}"{dash}{heads}/>')

    def box(self, x: float, y: float, width: float, height: float, title: str, *lines: str,
            colour: str = "blue") -> None:
        """A named part, its title over lines of smaller text."""
        self.rect(x, y, width, height, fill=FILLS[colour], stroke=STROKES[colour], radius=6)
        middle = y + height / 2 + 4.5 - 7 * len(lines)
        self.text(x + width / 2, middle, title, size=13, anchor="middle", bold=True)
        for place, line in enumerate(lines, 1):
            self.text(x + width / 2, middle + 1 + 14 * place, line, size=10.5, fill=MUTED,
                      anchor="middle")

    def svg(self) -> str:
        """The drawing as a file's text."""
        return "\n".join([*self._parts, "</svg>", ""])


def _px(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
