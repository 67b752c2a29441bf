"""A matplotlib figure as the text of an SVG file."""

import io
from xml.sax.saxutils import escape

import matplotlib as mpl
from matplotlib.figure import Figure

__all__ = ["svg_figure"]


def svg_figure(figure: Figure, title: str, description: str) -> str:
    """``figure`` with what it shows in words, for those who do not see it. Text stays text, and the
    same figure gives the same bytes."""
    stream = io.StringIO()
    # Without these, names of elements and the time of writing differ from run to run.
    with mpl.rc_context({"svg.hashsalt": "pnmtile", "svg.fonttype": "none"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    head, opened, rest = stream.getvalue().partition("<svg")
    attributes, closed, body = rest.partition(">")
    return (f'{head}{opened}{attributes} role="img"{closed}\n <title>{escape(title)}</title>\n '
            f"<desc>{escape(description)}</desc>{body}")
