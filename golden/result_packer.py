"""Result packer: rows of FP32 results to the bytes of whole atoms."""

import numpy as np
from numpy.typing import NDArray

from golden.encoder import encode
from golden.fp32 import from_fp32_codes
from spec.units import ResultPackerParams

__all__ = ["result_packer"]


def result_packer(rows: NDArray[np.uint32], used_columns: int,
                  params: ResultPackerParams) -> NDArray[np.uint8]:
    """Lay rows of results out as they stand in memory.

    :Shapes: ``rows``: ``[M, columns]``; result: bytes of ``ceil(M / rows_per_atom)`` atoms.
    :Formats: FP32 codes in; ``params.result`` out, little-endian, rows at a pitch of
        ``params.pitch`` elements. BF16 is rounded once to nearest even, NaN 0x7FC0. Columns from
        ``used_columns`` on, and the rest of the last atom, are zero.
    """
    values = from_fp32_codes("result_packer: rows", rows)
    if rows.ndim != 2 or rows.shape[1] != params.columns:
        raise ValueError(f"result_packer: rows must have the shape [M, {params.columns}], "
                         f"not {list(rows.shape)}")
    if not 0 <= used_columns <= params.columns:
        raise ValueError(f"result_packer: used_columns must be in [0, {params.columns}], "
                         f"not {used_columns}")
    codes = encode(values, params.result_format)
    atoms = -(-rows.shape[0] // params.rows_per_atom)
    laid = np.zeros((atoms * params.rows_per_atom, params.pitch),
                    codes.dtype.newbyteorder("<"))
    laid[:rows.shape[0], :used_columns] = codes[:, :used_columns]
    return laid.view(np.uint8).reshape(-1)
