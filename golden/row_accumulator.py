"""Row accumulator: the scaled group sums of a row, added in ascending order."""

import numpy as np
from numpy.typing import NDArray

from golden.checks import check_array
from golden.fp32_adder import fp32_adder

__all__ = ["row_accumulator"]


def row_accumulator(terms: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Add ``terms`` along the first axis.

    :Shapes: ``[groups, ...]`` to ``[...]``.
    :Formats: FP32 codes. Starts at +0; ``acc = fl32(acc + term)`` in ascending order, nearest
        even, subnormals kept, NaN 0x7FC00000.
    """
    check_array("row_accumulator: terms", terms, np.uint32)
    if terms.ndim < 1:
        raise ValueError("row_accumulator: terms must have at least one dimension")
    total = np.zeros(terms.shape[1:], np.uint32)
    for term in terms:
        total = fp32_adder(total, np.asarray(term))
    return total
