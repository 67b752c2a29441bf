"""Plot of the errors of several descriptions."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from tools.accuracy_study import BUCKETS, Study
from tools.svg_figure import svg_figure

__all__ = ["accuracy_plot"]

# As the other drawings of the project have them, and one dash each, for those who see no colours.
_LINES = (("#486581", "-"), ("#b83a2b", "--"), ("#2f855a", "-."), ("#6b46a8", ":"),
          ("#b7791f", (0, (5, 1, 1, 1, 1, 1))))
_INK = "#1f2933"


def accuracy_plot(studies: Sequence[Study]) -> str:
    """The share of results whose error is larger than a given one, as SVG: a panel for each kind
    of inputs, a line for each description, thick for the arithmetic alone and thin with
    quantization. The same studies give the same text."""
    inputs = list(dict.fromkeys(one.inputs for one in studies))
    tiles = list(dict.fromkeys(one.tile for one in studies))
    columns = min(2, len(inputs))
    lines = -(-len(inputs) // columns)
    figure = Figure(figsize=(5.6 * columns, 3.6 * lines + 0.5), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    for place, name in enumerate(inputs):
        panel = panels[place // columns][place % columns]
        for one in (one for one in studies if one.inputs == name):
            colour, dash = _LINES[tiles.index(one.tile) % len(_LINES)]
            for errors, width in ((one.arithmetic, 2.0), (one.with_quantization, 0.9)):
                shares = _larger(errors.counts, errors.results)
                panel.plot(BUCKETS, shares, color=colour, linestyle=dash, linewidth=width,
                           label=one.tile if width > 1 else None)
        panel.set_title(f"{name}, K = {studies[0].k}", color=_INK, fontsize=10)
        panel.set_yscale("log")
        panel.grid(color="#e4e7eb", linewidth=0.6)
        if place // columns == lines - 1:
            panel.set_xlabel("error over rms of the results")
            ticks = BUCKETS[::8]
            panel.set_xticks(ticks, [f"$2^{{{tick}}}$" for tick in ticks])
        if place % columns == 0:
            panel.set_ylabel("share of results with a larger error")
    for place in range(len(inputs), lines * columns):
        panels[place // columns][place % columns].set_visible(False)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(4, len(labels)),
                  frameon=False, title="thick: arithmetic alone; thin: with quantization",
                  title_fontsize=9, fontsize=9)
    return svg_figure(figure, "Errors of results", _described(studies))


def _described(studies: Sequence[Study]) -> str:
    """The largest errors in words."""
    return "; ".join(
        f"{one.tile}, {one.inputs}, K = {one.k}: largest error over rms "
        f"{one.arithmetic.maximum:.2g}, with quantization {one.with_quantization.maximum:.2g}"
        for one in studies)


def _larger(counts: Sequence[int], results: int) -> list[float]:
    """Per border, the share of results at or above it; none where that is zero."""
    left = sum(counts)
    shares = []
    for count in counts:
        shares.append(left / results if left else float("nan"))
        left -= count
    return shares
