"""SECDED encoder: check bits of the words of an atom."""

from amaranth.hdl import Cat, Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hdl.pipeline import flow
from spec.memory_units import SecdedParams
from spec.secded import CHECK_BITS, CHECK_COLUMNS, DATA_BITS

__all__ = ["SecdedEncoder", "check_bits", "coded_layout"]


def coded_layout(params: SecdedParams) -> data.StructLayout:
    """An atom and its check bits; byte i of ``ecc`` belongs to word i of ``data``."""
    return data.StructLayout({"data": params.words * DATA_BITS, "ecc": params.words * CHECK_BITS})


def check_bits(word):
    """Return the check bits of one word, the parity of the data bits that each covers."""
    return Cat(*(
        Cat(*(word[bit] for bit, column in enumerate(CHECK_COLUMNS) if column >> check & 1)).xor()
        for check in range(CHECK_BITS)))


class SecdedEncoder(wiring.Component):
    """Adds the check bits of :mod:`spec.secded` to ``words`` 64-bit words.

    The golden model is :func:`golden.secded.encode`.

    :Timing: latency ``SecdedParams.LATENCY``; an atom per cycle; outputs leave from flops.

    Members
    -------
    i : stream of atoms, always ready
    o : stream of ``data`` and ``ecc``, always ready
    """

    def __init__(self, params: SecdedParams):
        if not isinstance(params, SecdedParams):
            raise TypeError(f"SecdedEncoder needs SecdedParams, not {params!r}")
        self.params = params
        super().__init__({
            "i": In(flow(params.words * DATA_BITS)),
            "o": Out(flow(coded_layout(params))),
        })

    def elaborate(self, platform):
        m = Module()
        atom = self.i.payload
        m.d.sync += [
            self.o.valid.eq(self.i.valid),
            self.o.payload.data.eq(atom),
            self.o.payload.ecc.eq(Cat(*(check_bits(atom.word_select(word, DATA_BITS))
                                        for word in range(self.params.words)))),
        ]
        return m
