"""SECDED decoder: the words of an atom with single wrong bits corrected."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hdl.pipeline import flow
from hdl.secded_encoder import check_bits, coded_layout
from spec.memory_units import SecdedParams
from spec.secded import CHECK_BITS, CHECK_COLUMNS, DATA_BITS

__all__ = ["SecdedDecoder", "corrected_layout"]


def corrected_layout(params: SecdedParams) -> data.StructLayout:
    """An atom as corrected; ``corrected`` has one bit per word."""
    return data.StructLayout({
        "data": params.words * DATA_BITS, "corrected": params.words, "uncorrectable": 1})


class SecdedDecoder(wiring.Component):
    """Corrects one wrong bit in each of ``words`` 64-bit words, and reports two.

    The golden model is :func:`golden.secded.decode`.

    :Timing: latency ``SecdedParams.LATENCY``; an atom per cycle; outputs leave from flops.
    :Errors: bit i of ``corrected`` says that word i, or one of its check bits, had one wrong bit;
        ``uncorrectable`` that some word had two, and stays as it was read. Three or more wrong
        bits of one word may be taken for one; not detected.

    Members
    -------
    i : stream of ``data`` and ``ecc``, always ready
    o : stream of ``data``, ``corrected`` and ``uncorrectable``, always ready
    """

    def __init__(self, params: SecdedParams):
        if not isinstance(params, SecdedParams):
            raise TypeError(f"SecdedDecoder needs SecdedParams, not {params!r}")
        self.params = params
        super().__init__({
            "i": In(flow(coded_layout(params))),
            "o": Out(flow(corrected_layout(params))),
        })

    def elaborate(self, platform):
        m = Module()
        words, corrected, uncorrectable = [], [], []
        for index in range(self.params.words):
            word = self.i.payload.data.word_select(index, DATA_BITS)
            syndrome = Signal(CHECK_BITS, name=f"syndrome_{index}")
            m.d.comb += syndrome.eq(
                check_bits(word) ^ self.i.payload.ecc.word_select(index, CHECK_BITS))
            flip = Cat(*(syndrome == column for column in CHECK_COLUMNS))
            check = Cat(*(syndrome == 1 << bit for bit in range(CHECK_BITS)))
            wrong = flip.any() | check.any()
            words.append(word ^ flip)
            corrected.append(wrong)
            uncorrectable.append(syndrome.any() & ~wrong)
        m.d.sync += [
            self.o.valid.eq(self.i.valid),
            self.o.payload.data.eq(Cat(*words)),
            self.o.payload.corrected.eq(Cat(*corrected)),
            self.o.payload.uncorrectable.eq(Cat(*uncorrectable).any()),
        ]
        return m
