"""Converter: atoms of any format, with group scales, to atoms of BF16 or FP32."""

from amaranth.hdl import Array, Cat, Const, EnableInserter, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.fp32 import NAN, fp32_layout, infinity, is_infinity, is_nan, significand
from hdl.pipeline import delayed, registered
from hdl.shift import leading_zeros, shifted_right_sticky
from hdl.skid_buffer import SkidBuffer
from hdl.tensor_streams import element_layout, scaled_layout
from hdl.widened import WIDENED_MANTISSA, widened
from spec.formats import BF16, FLOAT_FORMATS, FP32
from spec.tensor_units import ConverterParams
from spec.tensors import TensorFormat
from spec.units import SkidBufferParams

__all__ = ["Converter"]

# A product's significand, its leading one on top, then a guard bit and a sticky bit.
PRODUCT_BITS = FP32.significand_bits + 2
# A product's exponent, biased as FP32's: from -38 to 270; so many places below 1: up to 39.
EXPONENT = signed(10)
BELOW_BITS = 6
# BF16 is the upper part of FP32; so many bits are below it.
CUT = FP32.bits - BF16.bits
# Pipeline stages through which FP8 goes, and nothing else.
SCALING_STAGES = 3

_special_layout = data.StructLayout({"sign": 1, "nan": 1, "infinite": 1, "zero": 1})
# ``carry``: the product is 2 or more. ``lost`` is the sticky bit where only BF16 is kept.
_product_layout = data.StructLayout({"bits": PRODUCT_BITS, "carry": 1, "lost": 1})


def _rounds_up(number, place: int):
    """Whether rounding to nearest even at the bit ``place`` of a code goes up; ``number`` is the
    code with a guard bit and a sticky bit below."""
    return number[place + 1] & (number[:place + 1].any() | number[place + 2])


class Converter(wiring.Component):
    """Converts rows of elements of one format into rows of another.

    The golden model is :func:`golden.converter.converter`.

    :Shapes: rows of any number of elements. An atom of ``count`` elements gives
        ``ceil(count / lanes)`` atoms, ``lanes`` being those of the target; FP32 to BF16 makes one
        atom of two, or of one where that is the last of its row.
    :Formats: FP8 gives the exact product of code and ``scale`` (E8M0 in the low 8 bits, or FP32),
        rounded once to nearest even; BF16 to FP32 is exact; FP32 to BF16 is rounded once to
        nearest even. Subnormals and the sign of zero are kept, overflow gives infinity. NaN, a NaN
        scale and infinity times zero give 0x7FC0 or 0x7FC00000. Where ``source`` and ``target``
        are equal, atoms pass as they are.
    :Timing: one atom leaves per cycle; where FP32 becomes BF16, one enters. No output of a stream
        follows an input of one combinationally.
    :Errors: formats that were not built, and atoms before the last of a row that are not full,
        are not detected. Elements past ``count`` are unspecified.

    Per atom, a scale's significand is multiplied by each of the eight that codes may have, and
    each lane takes one of the products. One stage makes all roundings: where BF16 is the target it
    rounds at bit 16 of FP32 in place of bit 0, with all bits below, so that no product is rounded
    twice.

    Members
    -------
    source, target : :class:`spec.tensors.TensorFormat`; they hold still while data is inside
    i : stream of ``data``, its number of elements ``count``, ``last`` at the last atom of a row,
        and the ``scale`` of its elements where they are FP8
    o : stream of ``data``, ``count`` and ``last``
    """

    def __init__(self, params: ConverterParams):
        if not isinstance(params, ConverterParams):
            raise TypeError(f"Converter needs ConverterParams, not {params!r}")
        self.params = params
        super().__init__({
            "source": In(3),
            "target": In(3),
            "i": In(stream.Signature(scaled_layout(params))),
            "o": Out(stream.Signature(element_layout(params))),
        })
        scaled = [FLOAT_FORMATS[name] for name in params.sources if FLOAT_FORMATS[name].bits == 8]
        self._scaled_sources = scaled if params.targets else []
        # Lanes that make FP32, and all; the others make BF16 only.
        bf16_lanes, fp32_lanes = params.lanes("bf16"), params.lanes("fp32")
        has_fp32 = "fp32" in (*params.sources, *params.targets)
        narrow = self._scaled_sources and "bf16" in params.targets or not has_fp32
        self._wide_lanes = fp32_lanes if has_fp32 else 0
        self._lanes = bf16_lanes if narrow else fp32_lanes

    def _asked(self, source: str, target: str):
        """Whether this is to be done; never where it was not built."""
        if source not in self.params.sources or target not in self.params.targets:
            return Const(0, 1)
        return ((self.source == TensorFormat[source.upper()])
                & (self.target == TensorFormat[target.upper()]))

    def elaborate(self, platform):
        m = Module()
        params = self.params
        bf16_lanes, fp32_lanes = params.lanes("bf16"), params.lanes("fp32")
        fp8_to_bf16, fp8_to_fp32, widens, pairs = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            fp8_to_bf16.eq(self._asked("e4m3", "bf16") | self._asked("e5m2", "bf16")),
            fp8_to_fp32.eq(self._asked("e4m3", "fp32") | self._asked("e5m2", "fp32")),
            widens.eq(self._asked("bf16", "fp32")),
            pairs.eq(self._asked("fp32", "bf16")),
        ]

        m.submodules.skid = skid = SkidBuffer(SkidBufferParams(bits=self.o.payload.shape().size))
        move = skid.i.ready
        # Everything behind the atom that is held moves together, or not at all.
        pipeline = Module()
        m.submodules.pipeline = EnableInserter(move)(pipeline)

        # The atom that is held gives its lowest elements in each beat, and moves down.
        held, held_valid = Signal(self.i.payload.shape()), Signal()
        step = Mux(fp8_to_bf16, bf16_lanes,
                   Mux(fp8_to_fp32 | widens, fp32_lanes, params.atom_bytes))
        final = held.count <= step
        m.d.comb += self.i.ready.eq(~held_valid | final & move)
        with m.If(self.i.ready):
            m.d.sync += [held_valid.eq(self.i.valid), held.eq(self.i.payload)]
        with m.Elif(move):
            m.d.sync += [
                held.data.eq(Mux(fp8_to_fp32, held.data[params.atom_bits // 4:],
                                 held.data[params.atom_bits // 2:])),
                held.count.eq(held.count - step),
            ]
        beat = Signal(data.StructLayout({"valid": 1, "last": 1, "count": params.count_bits}))
        m.d.comb += [
            beat.valid.eq(held_valid),
            beat.last.eq(held.last & final),
            beat.count.eq(Mux(final, held.count, step)),
        ]

        # Into the rounding: elements with two bits below, scaled or as they came.
        numbers = [self._plain(held.data, lane, widens, pairs) for lane in range(self._lanes)]
        entering = beat
        if self._scaled_sources:
            scaled = fp8_to_bf16 | fp8_to_fp32
            # A beat that does not go this way is at this end no later than at the output, so that
            # none is left when other formats are asked for.
            entering = Mux(scaled, delayed(pipeline, beat, SCALING_STAGES, "beat"), beat)
            numbers = [Mux(scaled, product, number) for product, number in zip(
                self._scaled(pipeline, held.data, held.scale), numbers, strict=True)]
        # The last register of stage 4.
        rounding = data.View(beat.shape(), registered(pipeline, entering, "rounding"))
        numbers = [registered(pipeline, number, f"number_{lane}")
                   for lane, number in enumerate(numbers)]

        # Stage 5: round, and put in place. Two atoms of FP32 make one of BF16.
        second = Signal()
        o, o_valid = Signal(self.o.payload.shape()), Signal()
        slots = self._slots(m, numbers, fp8_to_bf16, pairs)
        with pipeline.If(~second):
            pipeline.d.sync += o.data[:params.atom_bits // 2].eq(Cat(*slots[:fp32_lanes]))
        with pipeline.If(rounding.valid & pairs):
            pipeline.d.sync += second.eq(~second & ~rounding.last)
        pipeline.d.sync += [
            o.data[params.atom_bits // 2:].eq(Cat(*slots[fp32_lanes:])),
            o.count.eq(rounding.count + Mux(second, fp32_lanes, 0)),
            o.last.eq(rounding.last),
            o_valid.eq(rounding.valid & (~pairs | second | rounding.last)),
        ]
        m.d.comb += [
            skid.i.payload.eq(o),
            skid.i.valid.eq(o_valid),
            self.o.payload.eq(skid.o.payload),
            self.o.valid.eq(skid.o.valid),
            skid.o.ready.eq(self.o.ready),
        ]
        return m

    def _plain(self, atom, lane: int, widens, pairs):
        """An element of BF16 or FP32, or bits that are copied, as a number to round."""
        if lane < self._wide_lanes:
            word = atom.word_select(lane, FP32.bits)
            word = Mux(widens, Cat(Const(0, CUT), atom.word_select(lane, BF16.bits)), word)
            nan = (widens | pairs) & is_nan(data.View(fp32_layout, word))
            return Cat(Const(0, 2), Mux(nan, NAN, word))
        if self._wide_lanes:
            return Const(0, BF16.bits + 2)
        return Cat(Const(0, 2), atom.word_select(lane, BF16.bits))

    def _slots(self, m: Module, numbers, fp8_to_bf16, pairs):
        """Round; return what goes to each place for a BF16 element of the atom that leaves."""
        to_bf16 = fp8_to_bf16 | pairs
        results = []
        for lane, number in enumerate(numbers):
            code, sign = number[2:-1], number[-1]
            up = _rounds_up(number, 0)
            if len(number) > BF16.bits + 2:
                up = Cat(up & ~to_bf16, Const(0, CUT - 1), _rounds_up(number, CUT) & to_bf16)
            result = Signal(len(code) + 1, name=f"result_{lane}")
            m.d.comb += result.eq(Cat((code + up)[:len(code)], sign))
            results.append(result)
        if not self._wide_lanes:
            return results
        upper = [result[-BF16.bits:] for result in results]
        upper += [Const(0, BF16.bits)] * (2 * self._wide_lanes - len(upper))
        slots = []
        for slot, rounded in enumerate(upper):
            if slot >= self._wide_lanes:
                rounded = Mux(pairs, upper[slot - self._wide_lanes], rounded)
            word = results[slot // 2].word_select(slot % 2, BF16.bits)
            slots.append(Mux(to_bf16, rounded, word))
        return slots

    def _scaled(self, m: Module, atom, scale):
        """Return the products of codes and scale as numbers to round, for each lane."""
        # Stage 1: make the leading one of every significand its top bit.
        scale_special, scale_exponent = Signal(_special_layout), Signal(EXPONENT)
        if self.params.scale_format == "e8m0":
            code = scale[:self.params.scale_bits]
            m.d.sync += [scale_exponent.eq(code - FP32.bias), scale_special.nan.eq(code.all())]
        else:
            view = data.View(fp32_layout, scale)
            raw = significand(view)
            zeros = leading_zeros(m, raw, "scale_zeros")
            scale_significand = registered(m, (raw << zeros)[:len(raw)], "scale_significand")
            m.d.sync += [
                scale_exponent.eq(Mux(view.exponent.any(), view.exponent, 1) - zeros - FP32.bias),
                scale_special.sign.eq(view.sign),
                scale_special.nan.eq(is_nan(view)),
                scale_special.infinite.eq(is_infinity(view)),
                scale_special.zero.eq(~raw.any()),
            ]
        lanes = []
        for lane in range(self._lanes):
            sign = Signal(name=f"sign_{lane}")
            magnitude = Signal(WIDENED_MANTISSA + FP32.exponent_bits, name=f"magnitude_{lane}")
            for fmt in self._scaled_sources:
                code = atom.word_select(lane, fmt.bits)
                with m.If(self.source == TensorFormat[fmt.name.upper()]):
                    m.d.sync += [
                        sign.eq(code[-1]),
                        magnitude.eq(widened(m, code, fmt, f"{fmt.name}_{lane}")),
                    ]
            lanes.append((sign, magnitude))

        # Stage 2: multiply the scale by each significand that a code can have.
        products = []
        for fraction in range(1 << WIDENED_MANTISSA):
            factor = (1 << WIDENED_MANTISSA) + fraction
            product = Signal(_product_layout, name=f"product_{fraction}")
            if self.params.scale_format == "e8m0":
                m.d.comb += product.bits.eq(factor << (PRODUCT_BITS - WIDENED_MANTISSA - 1))
            else:
                exact = scale_significand * factor
                carry = exact[-1]
                low = len(exact) - PRODUCT_BITS
                bits = Mux(carry, Cat(exact[:low + 1].any(), exact[low + 1:]),
                           Cat(exact[:low].any(), exact[low:-1]))
                m.d.sync += [product.bits.eq(bits), product.carry.eq(carry),
                             product.lost.eq(bits[:CUT + 1].any())]
            products.append(product)
        return [self._product(m, lane, sign, magnitude, Array(products), scale_exponent,
                              scale_special) for lane, (sign, magnitude) in enumerate(lanes)]

    def _product(self, m: Module, lane: int, sign, magnitude, products, scale_exponent, scale):
        """Stages 2 to 4 of one lane."""
        wide = lane < self._wide_lanes
        # Stage 2: add exponents, and see what is special.
        field = magnitude[WIDENED_MANTISSA:]
        fraction = registered(m, magnitude[:WIDENED_MANTISSA], f"fraction_{lane}")
        total = registered(m, field + scale_exponent, f"total_{lane}")
        top, zero = field.all(), ~field.any()
        nan = top & magnitude[:WIDENED_MANTISSA].any()
        special_2 = Signal(_special_layout, name=f"special_2_{lane}")
        m.d.sync += [
            special_2.sign.eq(sign ^ scale.sign),
            special_2.nan.eq(nan | scale.nan | top & scale.zero | zero & scale.infinite),
            special_2.infinite.eq(top | scale.infinite),
            special_2.zero.eq(zero | scale.zero),
        ]

        # Stage 3: take the product of this lane's significand.
        product = products[fraction]
        exponent = Signal(EXPONENT, name=f"exponent_{lane}")
        m.d.comb += exponent.eq(total + product.carry)
        bits = product.bits if wide else Cat(product.lost, product.bits[CUT + 1:])
        bits_3 = registered(m, bits, f"bits_{lane}")
        subnormal = exponent < 1
        below = registered(m, Mux(subnormal, 1 - exponent, 0)[:BELOW_BITS], f"below_{lane}")
        field = registered(m, Mux(subnormal, 0, exponent)[:FP32.exponent_bits], f"field_{lane}")
        special_3 = Signal(_special_layout, name=f"special_3_{lane}")
        m.d.sync += [
            special_3.eq(special_2),
            special_3.infinite.eq(special_2.infinite | (exponent > 2 * FP32.bias)),
        ]

        # Stage 4: shift right what is below the smallest normal; put in what is special.
        shifted = shifted_right_sticky(m, bits_3, below, f"product_{lane}")
        finite = Cat(shifted[0] | shifted[1], shifted[2:-1], field)
        cut = 0 if wide else CUT
        number = Signal(len(finite), name=f"scaled_{lane}")
        nan, inf = (Cat(Const(0, 2), value[cut:-1]) for value in (NAN, infinity(0)))
        m.d.comb += number.eq(
            Mux(special_3.nan, nan,
                Mux(special_3.zero, 0, Mux(special_3.infinite, inf, finite))))
        return Cat(number, special_3.sign & ~special_3.nan)
