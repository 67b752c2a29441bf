"""Fixed sum: all E4M3 codes of one atom, added exactly."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hdl.fp32 import NAN
from hdl.pipeline import delayed, registered
from hdl.shift import leading_zeros
from spec.formats import E4M3, FP32

__all__ = ["FixedSum"]


class FixedSum(wiring.Component):
    """Sum of the E4M3 codes of one atom, as FP32.

    E4M3 values are multiples of ``2**-9`` below ``2**18`` of them, so that the sum of 64 fits the
    24 bits of an FP32 significand: every node of a tree of FP32 additions is exact, and this is
    what it gives, without an FP32 adder.

    :Formats: a sum of zeros is -0 when all of them are; NaN codes give 0x7FC00000.
    :Timing: latency ``FixedSum.LATENCY``; one atom per cycle; never stalls.

    Parameters
    ----------
    lanes : int
        Codes of an atom, 64 at most.

    Members
    -------
    data : codes, the first lowest
    present : which of them count; those that do not are -0
    o : FP32 code of the sum
    """

    LATENCY = 4

    def __init__(self, lanes: int):
        # The largest code is below 2**(largest_shift + significand_bits).
        self.sum_bits = E4M3.largest_shift + E4M3.significand_bits + (lanes - 1).bit_length()
        assert self.sum_bits <= FP32.significand_bits
        self.lanes = lanes
        super().__init__({
            "data": In(lanes * E4M3.bits),
            "present": In(lanes),
            "o": Out(FP32.bits),
        })

    def elaborate(self, platform):
        m = Module()

        # Stage 1: fixed point, and the sums of pairs.
        terms, nans, zeros = [], [], []
        for lane in range(self.lanes):
            code = Signal(E4M3.bits, name=f"code_{lane}")
            m.d.comb += code.eq(Mux(self.present[lane], self.data.word_select(lane, E4M3.bits),
                                    E4M3.sign_mask))
            exponent = code[E4M3.mantissa_bits:-1]
            significand = Cat(code[:E4M3.mantissa_bits], exponent.any())
            # Negated while it is short.
            factor = Signal(signed(E4M3.significand_bits + 1), name=f"factor_{lane}")
            term = Signal(signed(E4M3.largest_shift + E4M3.significand_bits + 1),
                          name=f"term_{lane}")
            m.d.comb += [
                factor.eq(Mux(code[-1], -significand, significand)),
                term.eq(factor << (exponent - exponent.any())[:E4M3.shift_bits]),
            ]
            terms.append(term)
            nans.append(code[:-1].all())
            zeros.append(code == E4M3.sign_mask)
        pairs = [registered(m, terms[lane] + terms[lane + 1], f"pair_{lane // 2}")
                 for lane in range(0, self.lanes, 2)]
        nan = delayed(m, Cat(nans).any(), 3, "nan")
        negative_zero = delayed(m, Cat(zeros).all(), 3, "negative_zero")

        # Stage 2: the sum.
        while len(pairs) > 1:
            pairs = [pairs[place] + pairs[place + 1] for place in range(0, len(pairs), 2)]
        total = Signal(signed(self.sum_bits + 1))
        m.d.sync += total.eq(pairs[0])

        # Stage 3: sign and magnitude.
        sign = registered(m, total[-1], "sign")
        magnitude = registered(m, Mux(total[-1], -total, total)[:self.sum_bits], "magnitude")

        # Stage 4: normalise and pack; exact.
        zeros = leading_zeros(m, magnitude, "leading_zeros")
        normal = (magnitude << zeros)[:self.sum_bits]
        top = E4M3.smallest_exponent + self.sum_bits - 1 + FP32.bias
        with m.If(nan):
            m.d.sync += self.o.eq(NAN)
        with m.Elif(magnitude.any()):
            m.d.sync += self.o.eq(Cat(Const(0, FP32.significand_bits - self.sum_bits), normal[:-1],
                                      (top - zeros)[:FP32.exponent_bits], sign))
        with m.Else():
            m.d.sync += self.o.eq(Cat(Const(0, FP32.bits - 1), negative_zero))
        return m
