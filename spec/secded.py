"""The (72,64) Hsiao code as data: 64 data bits, 8 check bits.

Check bit j is the parity of the data bits whose column has bit j set, and has itself the column
``1 << j``. All 72 columns are distinct and of odd weight, so the syndrome of

- no error is 0,
- one wrong bit is that bit's column, of odd weight,
- two wrong bits is the exclusive-or of two distinct columns: not 0, and of even weight, so it is
  never taken for one wrong bit.

Three or more wrong bits may be taken for one. A word of zeros has check bits of zero.

The data bits take the 56 columns of weight 3 in ascending order, then the 8 of weight 5 that are
rotations of ``0b11111``. Each check bit so covers 21 + 5 = 26 data bits, the least that an even
share of 208 ones allows.

Source: M. Y. Hsiao, "A Class of Optimal Minimum Odd-weight-column SEC-DED Codes", IBM Journal of
Research and Development 14(4), 1970, pages 395-401.
"""

__all__ = ["CHECK_BITS", "CHECK_COLUMNS", "DATA_BITS"]

DATA_BITS = 64
CHECK_BITS = 8


def _rotated(value: int, places: int) -> int:
    return (value << places | value >> CHECK_BITS - places) & (1 << CHECK_BITS) - 1


# The column of each data bit, bit 0 first.
CHECK_COLUMNS: tuple[int, ...] = (
    *(column for column in range(1 << CHECK_BITS) if column.bit_count() == 3),
    *(_rotated(0b11111, places) for places in range(CHECK_BITS)),
)
