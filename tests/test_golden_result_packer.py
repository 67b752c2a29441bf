import numpy as np
import pytest

from golden.result_packer import result_packer
from spec.formats import BF16, FP32
from spec.units import ResultPackerParams
from tb.oracle import round_to_format, value_of
from tests.golden_cases import FP32_EDGES


def test_fp32_rows_stand_at_a_power_of_two_pitch():
    params = ResultPackerParams(atom_bits=256, columns=3, result="fp32", depth=8, rows_bits=24)
    rows = np.array([[1, 2, 0xDEAD], [0x80000004, 5, 0xBEEF], [7, 8, 9]], np.uint32)
    words = result_packer(rows, 2, params).view("<u4")
    assert words.tolist() == [1, 2, 0, 0, 0x80000004, 5, 0, 0, 7, 8, 0, 0, 0, 0, 0, 0]


def test_bf16_is_rounded_once():
    params = ResultPackerParams(atom_bits=64, columns=1, result="bf16", depth=8, rows_bits=24)
    packed = result_packer(FP32_EDGES[:, None], 1, params).view("<u2")
    expected = [round_to_format(value_of(int(code), FP32), BF16, negative_zero=bool(code >> 31))
                for code in FP32_EDGES]
    assert packed.tolist() == expected + [0] * (-len(expected) % 4)


def test_rejects_another_number_of_columns():
    params = ResultPackerParams(atom_bits=256, columns=4, result="fp32", depth=8, rows_bits=24)
    with pytest.raises(ValueError, match=r"^result_packer: rows must have the shape \[M, 4\], "
                                         r"not \[2, 3\]$"):
        result_packer(np.zeros((2, 3), np.uint32), 3, params)
