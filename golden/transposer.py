"""Transposer: blocks of codes to atoms of their columns."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.checks import check_array
from spec.tensor_units import TransposerParams

__all__ = ["transposer"]


def transposer(codes: NDArray[Any], params: TransposerParams) -> NDArray[np.uint8]:
    """Lay a block's columns out as rows of whole atoms.

    :Shapes: ``codes`` [rows, columns], each from 1 to ``params.block``; result [columns, bytes],
        where ``bytes`` are the ``rows`` elements, filled up with zero bytes to whole atoms.
    :Formats: any codes of 8 or 16 bits (uint8 or uint16), moved and not interpreted;
        little-endian.
    """
    check_array("transposer: codes", codes, np.uint8, np.uint16, dimensions=2)
    rows, columns = codes.shape
    if not (1 <= rows <= params.block and 1 <= columns <= params.block):
        raise ValueError(f"transposer: codes must have 1 to {params.block} rows and columns, "
                         f"not the shape {list(codes.shape)}")
    lanes = params.atom_bytes // codes.itemsize
    laid = np.zeros((columns, -(-rows // lanes) * lanes), codes.dtype.newbyteorder("<"))
    laid[:, :rows] = codes.T
    return laid.view(np.uint8)
