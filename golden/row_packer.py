"""Row packer: the codes and scales of quantized rows to atoms for memory."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.checks import check_array
from spec.tensor_units import RowPackerParams

__all__ = ["row_packer"]


def row_packer(codes: NDArray[np.uint8], scales: NDArray[Any],
               params: RowPackerParams) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Lay the rows of one run out as they stand in memory.

    :Shapes: ``codes`` [rows, k]; ``scales`` of any shape, in the order in which their groups come.
        Results: the bytes of the code atoms and of the scale atoms, [atoms, bytes of an atom].
        Every row of codes begins an atom, and is filled up with zeros; the scales stand one behind
        the other through all rows, and the last atom of them is filled up with zeros.
    :Formats: ``codes`` uint8; ``scales`` uint8 (E8M0) or float32, little-endian.
    :Errors: ``TypeError`` for a wrong dtype, ``ValueError`` for a wrong shape and for more scales
        than stand together.
    """
    check_array("row_packer: codes", codes, np.uint8)
    check_array("row_packer: scales", scales, np.uint8, np.float32)
    if codes.ndim != 2 or codes.size == 0:
        raise ValueError(f"row_packer: codes must have the shape [rows, k] and at least one "
                         f"element, not the shape {list(codes.shape)}")
    if not 1 <= scales.size <= params.scales_max:
        raise ValueError(f"row_packer: there must be 1 to {params.scales_max} scales, "
                         f"not {scales.size}")
    rows, k = codes.shape
    size = params.atom_bytes
    laid = np.zeros((rows, -(-k // size) * size), np.uint8)
    laid[:, :k] = codes
    little = np.ascontiguousarray(scales.ravel(), scales.dtype.newbyteorder("<")).view(np.uint8)
    filled = np.zeros(-(-little.size // size) * size, np.uint8)
    filled[:little.size] = little
    return laid.reshape(-1, size), filled.reshape(-1, size)
