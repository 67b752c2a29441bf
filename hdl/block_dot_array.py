"""Block dot array: the exact sum of a row whose blocks have scales of their own."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hdl.decoder import pairs_layout
from hdl.dot_array import DotArray, group_sum_layout
from hdl.pipeline import delayed, flow, registered
from spec.dot_arrays import BlockDotArrayParams

__all__ = ["BlockDotArray"]


class BlockDotArray(wiring.Component):
    """Exact dot product of one row of NVFP4, ``lanes`` products per beat.

    Each block is summed by a :class:`~hdl.dot_array.DotArray`; its sum, times the significands of
    both scales and shifted by their exponents, is added to that of the row. The golden model is
    :func:`golden.block_dot_array.block_dot_array`.

    :Shapes: one to ``group_beats`` beats of ``lanes`` decoded pairs per row, and a scale on each
        side for each block of a beat; one sum per row.
    :Formats: operands as :class:`hdl.decoder.Decoder` gives them, without NaN and infinity; scales
        E4M3 codes, whose signs are ignored; sum s{sum_bits} in units of ``2**lsb_exponent``, exact.
        A NaN scale sets ``nan``, and ``value`` then means nothing; the flags of infinities are 0.
    :Timing: latency ``BlockDotArrayParams.LATENCY`` from the beat with ``last``; one beat per
        cycle; never stalls. Beats may come with gaps.
    :Errors: more than ``group_beats`` beats in a row wrap modulo ``2**sum_bits``; not detected.

    Members
    -------
    i : stream of ``weights``, ``activations``, ``first`` and ``last`` of a row, and
        ``weight_scales`` and ``activation_scales`` of the blocks; always ready
    o : stream of row sums, always ready
    """

    def __init__(self, params: BlockDotArrayParams):
        if not isinstance(params, BlockDotArrayParams):
            raise TypeError(f"BlockDotArray needs BlockDotArrayParams, not {params!r}")
        self.params = params
        scales = data.ArrayLayout(params.SCALE.bits, params.blocks)
        super().__init__({
            "i": In(flow(pairs_layout(params, weight_scales=scales, activation_scales=scales))),
            "o": Out(flow(group_sum_layout(params.sum_bits))),
        })

    def elaborate(self, platform):
        m = Module()
        params, beat = self.params, self.i.payload
        terms = [self._block(m, place) for place in range(params.blocks)]
        nans = [side[place][:-1].all() for place in range(params.blocks)
                for side in (beat.weight_scales, beat.activation_scales)]
        cycles = params.LATENCY - 1
        valid = delayed(m, self.i.valid, cycles, "valid")
        first = delayed(m, beat.first, cycles, "first")
        last = delayed(m, beat.last, cycles, "last")
        nan = delayed(m, Cat(nans).any(), cycles, "nan")

        # As in the dot array, terms with their sign bit inverted are never negative.
        surplus = params.blocks << params.block_bits - 1
        total = Signal(group_sum_layout(params.sum_bits))
        with m.If(valid):
            m.d.sync += [
                total.value.eq(sum(terms) - surplus + Mux(first, 0, total.value)),
                total.nan.eq(nan | total.nan & ~first),
            ]
        m.d.sync += self.o.valid.eq(valid & last)
        m.d.comb += self.o.payload.eq(total)
        return m

    def _block(self, m, place):
        """The scaled sum of one block of the beat, its sign bit inverted."""
        params, beat = self.params, self.i.payload
        m.submodules[f"dot_array_{place}"] = dot = DotArray(params.dot_array)
        m.d.comb += [
            dot.i.valid.eq(self.i.valid),
            dot.i.payload.first.eq(1),
            dot.i.payload.last.eq(1),
        ]
        for lane in range(params.block):
            at = place * params.block + lane
            m.d.comb += [
                dot.i.payload.weights[lane].eq(beat.weights[at]),
                dot.i.payload.activations[lane].eq(beat.activations[at]),
            ]
        (weight, weight_shift), (activation, activation_shift) = (
            _scale(params.SCALE, side[place])
            for side in (beat.weight_scales, beat.activation_scales))
        wait = params.dot_array.LATENCY
        factor = delayed(m, registered(m, weight * activation, f"factor_{place}"), wait - 1,
                         f"factor_{place}")
        shift = delayed(m, registered(m, weight_shift + activation_shift, f"shift_{place}"), wait,
                        f"shift_{place}")
        scaled = registered(m, dot.o.payload.value * Cat(factor, Const(0, 1)).as_signed(),
                            f"scaled_{place}")
        term = Signal(signed(params.block_bits), name=f"term_{place}")
        m.d.comb += term.eq(scaled << shift[:params.shift_bits])
        return registered(m, Cat(term[:-1], ~term[-1]), f"fixed_{place}")


def _scale(fmt, code):
    """Significand and shift of a scale; its sign is ignored."""
    exponent = code[fmt.mantissa_bits:-1]
    return Cat(code[:fmt.mantissa_bits], exponent.any()), exponent - exponent.any()
