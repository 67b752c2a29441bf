"""Tensor checker: decides whether a command on a whole tensor may start, and derives its sizes."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.command_checker import ERROR_BITS, command_layout
from hdl.tensor_fields import TensorKind, among, any_of, field_error, format_codes, is_wide, log2
from spec.commands import ErrorCode, Opcode
from spec.tensor_checks import TensorCheckerParams
from spec.tensors import RULE_NAMES, Reduction, ScaleRule, TensorFormat

__all__ = ["TensorChecker", "tensor_command_layout"]

# The regions by the field of their address, each with the name of the size of its rows.
_REGIONS = {"source": "source_row", "source_scales": "source_scale_row",
            "target": "target_row", "target_scales": "target_scale_row"}


def tensor_command_layout(params: TensorCheckerParams) -> data.StructLayout:
    """A command with everything that its execution needs; all else means something if no error.

    Addresses and sizes are in atoms. ``*_row`` is one row of a region, 0 where there is none:
    ``source_scale_row`` says whether scales are read, ``target_scale_row`` whether there are
    scales among the results. The results of REDUCE are one row. ``source_atoms`` and
    ``target_atoms`` are whole regions without their scales; ``target_atoms`` means nothing where
    results go to the host.

    For LOAD, ``target_format``, ``rule`` and ``group`` are the tile's, and ``target_row`` and
    ``target_scale_row`` what the vector takes in the buffers.
    """
    memory = params.memory
    return data.StructLayout({
        "opcode": 8,
        "tag": 16,
        "error": ERROR_BITS,
        "columns": params.column_bits,
        "k": params.k_bits,
        "rows": params.rows_bits,
        "source_format": 3,
        "target_format": 3,
        "rule": 2,
        "group": 4,
        "reduction": 3,
        "whole": 1,
        "to_host": 1,
        "source": memory.index_bits,
        "source_scales": memory.index_bits,
        "target": memory.index_bits,
        "target_scales": memory.index_bits,
        "source_row": params.row_bits,
        "source_scale_row": params.row_bits,
        "target_row": params.row_bits,
        "target_scale_row": params.row_bits,
        "source_atoms": memory.count_bits,
        "target_atoms": memory.count_bits,
    })


class TensorChecker(wiring.Component):
    """Checks one command on a whole tensor at a time, in the order of
    :class:`spec.commands.ErrorCode`.

    The golden model is :func:`golden.tensor_checker.tensor_checker`; the sizes are those of
    :func:`spec.tensor_checks.tensor_sizes`. One region after the other goes through the same
    adders: its rows are measured, multiplied by their number, one bit per cycle, and what the
    whole region covers is compared with the regions before. The window is looked at when the
    command before has ended (``hold``).

    :Timing: ``TensorCheckerParams.cycles`` cycles from a descriptor to its result; one from the
        end of ``hold`` when that comes later.

    Members
    -------
    i : stream of descriptors; LOAD comes here only with a source format
    o : stream of checked commands
    window_base, window_limit : the window that the host opened, in bytes
    hold : a command is under way
    busy : a command is being checked
    """

    def __init__(self, params: TensorCheckerParams):
        if not isinstance(params, TensorCheckerParams):
            raise TypeError(f"TensorChecker needs TensorCheckerParams, not {params!r}")
        self.params = params
        super().__init__({
            "i": In(stream.Signature(command_layout())),
            "o": Out(stream.Signature(tensor_command_layout(params))),
            "window_base": In(params.memory.address_bits + 1),
            "window_limit": In(params.memory.address_bits + 1),
            "hold": In(1),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        params = self.params
        memory = params.memory
        command = Signal(command_layout())
        kind = TensorKind(m, command, params)
        wrong_field = field_error(m, command, kind, params)

        # One region: ``count`` elements in ``times`` rows. They fill ``row`` atoms each.
        region = Signal(range(params.REGIONS))
        count, row = Signal(params.k_bits), Signal(params.row_bits)
        group, size = Signal(4), Signal(2)
        times = Signal(params.times_bits)
        product = Signal(params.atoms_bits)
        step = Signal(range(params.times_bits))
        start = Signal(memory.index_bits)
        high, low, in_memory = Signal(), Signal(), Signal()
        end = Signal(memory.index_bits + 1)
        end_sum = Signal(max(memory.index_bits, params.atoms_bits) + 1)
        overflow = Signal()
        used = Signal()
        m.d.comb += [
            end_sum.eq(start + product),
            used.eq(in_memory & row.any()),
        ]

        # All regions together.
        names = tuple(_REGIONS)
        rows = {name: Signal(params.row_bits, name=_REGIONS[name]) for name in names}
        atoms = {name: Signal(memory.count_bits, name=f"{name}_atoms")
                 for name in ("source", "target")}
        starts = [command[name][memory.offset_bits:memory.address_bits] for name in names[:3]]
        ends = [Signal(memory.index_bits + 1, name=f"{name}_end") for name in names[:3]]
        lowest, highest = Signal(memory.index_bits), Signal(memory.index_bits + 1)
        too_many, misaligned, beyond, overlap = Signal(), Signal(), Signal(), Signal()
        error = Signal(ERROR_BITS)

        with m.FSM() as fsm:
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [
                    command.eq(self.i.payload), region.eq(0),
                    too_many.eq(0), misaligned.eq(0), beyond.eq(0), overlap.eq(0),
                    lowest.eq(-1), highest.eq(0), *(signal.eq(0) for signal in ends),
                ]
                with m.If(self.i.valid):
                    m.next = "KIND"
            with m.State("KIND"):
                m.next = "COUNT"
            with m.State("COUNT"):
                self._count(m, command, kind, region, count, times, group, size)
                with m.Switch(region):
                    for place, name in enumerate(names):
                        with m.Case(place):
                            address = command[name]
                            m.d.sync += [
                                start.eq(address[memory.offset_bits:memory.address_bits]),
                                high.eq(address[memory.address_bits:].any()),
                                low.eq(address[:memory.offset_bits].any()),
                            ]
                m.d.sync += in_memory.eq(~region[1] | ~(
                    command.to_host | kind.of(Opcode.LOAD, Opcode.MAP)))
                m.next = "GROUP"
            with m.State("GROUP"):
                logs = {log2(length) for length in (params.group, *params.groups)}
                with m.Switch(group):
                    for log in sorted(logs):
                        with m.Case(log):
                            m.d.sync += count.eq((count + ((1 << log) - 1)) >> log)
                m.next = "ROW"
            with m.State("ROW"):
                m.d.sync += [
                    row.eq(((count << size) + (params.atom_bytes - 1)) >> memory.offset_bits),
                    product.eq(0),
                    step.eq(0),
                ]
                m.next = "MULTIPLY"
            with m.State("MULTIPLY"):
                m.d.sync += [
                    product.eq((product << 1) + Mux(times[-1], row, 0)),
                    times.eq(times << 1),
                    step.eq(step + 1),
                ]
                with m.If(step == params.times_bits - 1):
                    m.next = "END"
            with m.State("END"):
                m.d.sync += [end.eq(end_sum), overflow.eq(end_sum[memory.index_bits + 1:].any())]
                m.next = "COMPARE"
            with m.State("COMPARE"):
                meets = any_of((start < other_end) & (other < end)
                             for other, other_end in zip(starts, ends, strict=True))
                with m.If(used):
                    m.d.sync += [
                        misaligned.eq(misaligned | low),
                        beyond.eq(beyond | high | overflow | (end > params.memory_atoms)),
                        overlap.eq(overlap | region[1] & meets),
                    ]
                    with m.If(start < lowest):
                        m.d.sync += lowest.eq(start)
                    with m.If(end > highest):
                        m.d.sync += highest.eq(end)
                with m.Switch(region):
                    for place, name in enumerate(names):
                        with m.Case(place):
                            m.d.sync += rows[name].eq(row)
                            if name in atoms:
                                m.d.sync += atoms[name].eq(product)
                            if place < len(ends):
                                m.d.sync += ends[place].eq(Mux(used, end, 0))
                            if name == "source":
                                m.d.sync += too_many.eq(self._too_many(command, kind, product))
                m.d.sync += region.eq(region + 1)
                m.next = "COUNT"
                with m.If(region == params.REGIONS - 1):
                    m.next = "WINDOW"
            with m.State("WINDOW"):
                base = self.window_base[memory.offset_bits:]
                limit = self.window_limit[memory.offset_bits:]
                outside = beyond | (lowest < base) & highest.any() | (highest > limit)
                found = Mux(overlap, ErrorCode.OVERLAP, ErrorCode.NONE)
                for flag, code in ((outside, ErrorCode.WINDOW),
                                   (misaligned, ErrorCode.ALIGNMENT),
                                   (too_many, ErrorCode.ROWS),
                                   (wrong_field.any(), wrong_field)):
                    found = Mux(flag, code, found)
                m.d.sync += error.eq(found)
                with m.If(~self.hold):
                    m.next = "RESULT"
            with m.State("RESULT"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.next = "IDLE"

        load = kind.of(Opcode.LOAD)
        given = {
            "error": error,
            "target_format": Mux(load, TensorFormat[params.load_format.upper()],
                                 command.target_format),
            "rule": Mux(load, RULE_NAMES[params.load_rule], command.rule),
            "group": Mux(load, log2(params.group), command.group),
            **{name: command[name][memory.offset_bits:memory.address_bits] for name in names},
            **{_REGIONS[name]: rows[name] for name in names},
            **{f"{name}_atoms": atoms[name] for name in atoms},
        }
        checked = self.o.payload
        m.d.comb += [checked[name].eq(given[name] if name in given else command[name])
                     for name, _ in checked.shape()]
        m.d.comb += self.busy.eq(~fsm.ongoing("IDLE"))
        return m

    def _count(self, m, command, kind, region, count, times, group, size):
        """Elements of a row, rows, logarithms of the group and of an element's bytes."""
        params = self.params

        def format_size(value):
            return Mux(among(value, format_codes(("e4m3", "e5m2"))), 0,
                       Mux(value == TensorFormat.FP32, 2, 1))

        def rule_size(rule):
            return Mux(rule == ScaleRule.FP32_DIV, 2, 0)

        k = command.k[:params.k_bits]
        rows = Signal(params.times_bits)
        single, load = kind.of(Opcode.LOAD, Opcode.MAP), kind.of(Opcode.LOAD)
        reduces, transposes = kind.of(Opcode.REDUCE), kind.of(Opcode.TRANSPOSE)
        wide = is_wide(command.reduction)
        m.d.comb += rows.eq(Mux(single, 1, command.rows))
        scale_size = log2(params.scale_bytes)
        tile_group = log2(params.group)
        block = max(1, params.transpose_block)
        old = load | kind.copies_scales
        with m.Switch(region):
            with m.Case(0):
                m.d.sync += [count.eq(k), times.eq(rows), group.eq(0),
                             size.eq(format_size(command.source_format))]
            with m.Case(1):
                m.d.sync += [count.eq(Mux(kind.reads_scales, k, 0)), times.eq(rows),
                             group.eq(tile_group), size.eq(scale_size)]
            with m.Case(2):
                m.d.sync += [
                    count.eq(Mux(reduces, Mux(command.whole, 1, rows),
                                 Mux(transposes, rows, k))),
                    times.eq(Mux(reduces, 1, Mux(transposes, k, rows))),
                    group.eq(0),
                    size.eq(Mux(reduces, Mux(wide, 3, 2),
                                Mux(load, 0, format_size(command.target_format)))),
                ]
            with m.Case(3):
                m.d.sync += [
                    count.eq(Mux(old | kind.makes_scales, k, 0)),
                    times.eq(Mux(transposes, (rows + (block - 1)) >> log2(block), rows)),
                    group.eq(Mux(old, tile_group, Mux(transposes, 0, command.group))),
                    size.eq(Mux(old, scale_size, rule_size(command.rule))),
                ]

    def _too_many(self, command, kind, atoms):
        """Whether an ARGMAX over ``atoms`` would find places that its result cannot hold."""
        most = Mux(command.source_format == TensorFormat.FP32, 4,
                   Mux(command.source_format == TensorFormat.BF16, 2, 1))
        places = 32 - log2(self.params.atom_bytes)
        return (kind.of(Opcode.REDUCE) & command.whole
                & (command.reduction == Reduction.ARGMAX) & (atoms > (most << places)))
