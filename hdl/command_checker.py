"""Command checker: decides whether a command may start, and derives its sizes."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.pipeline import registered
from spec.commands import COMMAND_WORDS, FIELDS, ErrorCode, Opcode
from spec.units import CommandCheckerParams

__all__ = ["CommandChecker", "checked_layout", "command_layout"]

ERROR_BITS = 8


def command_layout() -> data.StructLayout:
    """A descriptor as it stands in the queue."""
    return data.StructLayout({field.name: field.bits for field in FIELDS})


def checked_layout(params: CommandCheckerParams) -> data.StructLayout:
    """A command with everything that its execution needs; sizes mean something if no error.

    ``other`` are the scales (LOAD) or the results (GEMV); ``narrow`` says of two formats that the
    second is meant.
    """
    return data.StructLayout({
        "opcode": 8,
        "tag": 16,
        "error": ERROR_BITS,
        "columns": params.column_bits,
        "k": params.k_bits,
        "k_atoms": params.k_atoms_bits,
        "rows": params.rows_bits,
        "scale_atoms": params.scale_atoms_bits,
        **({"zero_atoms": params.zero_atoms_bits} if params.zeros_per_atom else {}),
        "transposed": 1,
        **({"narrow": 1} if params.narrow is not None else {}),
        "source": params.memory.index_bits,
        "source_atoms": params.memory.count_bits,
        "other": params.memory.index_bits,
        "other_atoms": params.memory.count_bits,
    })


def _ceil_divide(value, divisor: int):
    """``ceil(value / divisor)`` for a power of two."""
    shift = divisor.bit_length() - 1
    return (value + divisor - 1) >> shift


def _in_atoms(beats, packed: bool):
    """Atoms of ``beats`` beats: where codes are packed, one and a half times as many."""
    return beats + ((beats + 1) >> 1) if packed else beats


class CommandChecker(wiring.Component):
    """Checks one command at a time, in the order of :class:`spec.commands.ErrorCode`.

    What a command may do depends on how the one before ended, so the check itself waits while that
    is under way (``hold``); the sizes are made meanwhile.

    The sizes of the regions need one product, rows times atoms per row; it is made by shifting and
    adding, one bit of the smaller factor per cycle, so no multiplier is spent on it.

    :Timing: at most ``4 + CommandCheckerParams.size_cycles`` cycles from a descriptor to its
        result; at most 2 from the end of ``hold`` when that comes later.

    Members
    -------
    i : stream of descriptors
    o : stream of checked commands
    window_base, window_limit : the window that the host opened, in bytes
    loaded : elements of the vector that each column holds, 0 for none; above them its format
    hold : a command is under way that may change ``loaded``
    busy : a command is being checked
    """

    def __init__(self, params: CommandCheckerParams):
        if not isinstance(params, CommandCheckerParams):
            raise TypeError(f"CommandChecker needs CommandCheckerParams, not {params!r}")
        self.params = params
        super().__init__({
            "i": In(stream.Signature(command_layout())),
            "o": Out(stream.Signature(checked_layout(params))),
            "window_base": In(params.memory.address_bits + 1),
            "window_limit": In(params.memory.address_bits + 1),
            "loaded": In(data.ArrayLayout(params.loaded_bits, params.columns)),
            "hold": In(1),
            "busy": Out(1),
        })
        assert len(Cat(self.i.payload)) == 32 * COMMAND_WORDS

    def elaborate(self, platform):
        m = Module()
        params = self.params
        memory = params.memory
        command = Signal(command_layout())
        checked = Signal(checked_layout(params))
        is_load = command.opcode == Opcode.LOAD
        is_gemv = command.opcode == Opcode.GEMV
        is_fence = command.opcode == Opcode.FENCE

        # By transposed weights, a vector has an element for each row, and a result for each of K.
        transposed = command.transposed if params.transposed else Const(0, 1)
        rows_max = Mux(transposed, params.k_max, params.rows_max)
        length = Mux(transposed, command.rows, command.k)
        narrow, second = command.format_index[0], params.narrow

        def by_format(of):
            """What ``of`` makes of the record of the format that the command names."""
            return of(params) if second is None else Mux(narrow, of(second), of(params))

        # It stands in a register before anything is compared with it.
        other_address = registered(
            m, Mux(is_load, command.source_scales, command.target), "other_address")

        # Sizes that follow from K and rows by shifts. They are right where K and rows are legal.
        k = command.k[:params.k_bits]
        rows = command.rows[:params.rows_bits]
        groups = by_format(lambda one: _ceil_divide(k, one.group))
        k_atoms = Signal(params.k_atoms_bits)
        scales = Signal(range(params.scales_max + 1))
        scale_atoms = Signal(params.scale_atoms_bits)
        # Zero points come with the scales of a block.
        zero_atoms = Signal(params.zero_atoms_bits) if params.zeros_per_atom else Const(0)
        block_atoms = Signal(params.block_atoms_bits)
        padded_rows = Signal(params.rows_bits + 1)
        blocks = Signal(params.rows_bits)
        result_atoms = Signal(params.rows_bits)
        m.d.comb += [
            k_atoms.eq(by_format(lambda one: _ceil_divide(k, one.lanes))
                       * Mux(is_load, params.activation_atoms, 1)),
            scales.eq(Mux(is_load, groups, by_format(lambda one: groups * one.scale_rows))),
            scale_atoms.eq(by_format(lambda one: _ceil_divide(scales, one.scales_per_atom))
                           + params.tensor_scale_atoms),
            *([zero_atoms.eq(_ceil_divide(scales, params.zeros_per_atom))]
              if params.zeros_per_atom else []),
            block_atoms.eq(scale_atoms + zero_atoms),
            padded_rows.eq(_ceil_divide(rows, params.rows_per_strip) * params.rows_per_strip),
            blocks.eq(by_format(lambda one: _ceil_divide(rows, one.rows_per_block))),
            result_atoms.eq(_ceil_divide(Mux(transposed, k, rows), params.rows_per_result_atom)),
        ]

        # source_atoms = k_atoms * padded_rows + block_atoms * blocks, a bit per cycle.
        code_bits, scale_bits = Signal.like(k_atoms), Signal.like(block_atoms)
        code_term = Signal(params.atoms_bits)
        scale_term = Signal(params.atoms_bits)
        source_atoms = Signal(params.atoms_bits)
        other_atoms = Signal(params.atoms_bits)

        source = command.source[memory.offset_bits:memory.address_bits]
        other = other_address[memory.offset_bits:memory.address_bits]
        source_end = Signal(max(memory.index_bits, params.atoms_bits) + 1)
        other_end = Signal.like(source_end)
        base = self.window_base[memory.offset_bits:]
        limit = self.window_limit[memory.offset_bits:]

        # The limit may stand behind the memory.
        def outside(address, start, end):
            return (address[memory.address_bits:].any() | (start < base) | (end > limit)
                    | (end > params.memory_atoms))

        loaded = Signal(params.columns)
        wanted = length
        if second is not None:
            wanted = Cat(length[:params.k_bits], narrow, length[params.k_bits:])
        for column in range(params.columns):
            m.d.comb += loaded[column].eq(
                (command.columns <= column) | (self.loaded[column] == wanted))

        def unused(opcode):
            return Cat(command[field.name] for field in FIELDS if opcode not in field.used_by)

        low = memory.offset_bits
        checks = {
            ErrorCode.OPCODE: ~(is_load | is_gemv | is_fence),
            ErrorCode.RESERVED: (is_load & unused(Opcode.LOAD).any()
                                 | is_gemv & unused(Opcode.GEMV).any()
                                 | is_fence & unused(Opcode.FENCE).any()),
            ErrorCode.FORMAT: (command.source_format.any()
                               | (command.format_index > params.narrow_bits)
                               | (command.transposed & (not params.transposed))) & ~is_fence,
            ErrorCode.COLUMNS: Mux(
                is_load, command.columns >= params.columns,
                (command.columns == 0) | (command.columns > params.columns)) & ~is_fence,
            ErrorCode.K: ((command.k == 0) | (command.k > params.k_max)) & ~is_fence,
            ErrorCode.ROWS: ((command.rows == 0) | (command.rows > rows_max)) & is_gemv,
            ErrorCode.ALIGNMENT:
                (command.source[:low].any() | other_address[:low].any()) & ~is_fence,
        }
        # These follow from the command alone, long before they are asked for.
        checks = {code: registered(m, check, f"wrong_{code.name.lower()}")
                  for code, check in checks.items()}
        checks |= {
            ErrorCode.WINDOW: (outside(command.source, source, source_end)
                               | outside(other_address, other, other_end)) & ~is_fence,
            ErrorCode.NOT_LOADED: ~loaded.all() & is_gemv,
            ErrorCode.OVERLAP: (source < other_end) & (other < source_end) & is_gemv,
        }
        error = Const(ErrorCode.NONE, ERROR_BITS)
        for code in sorted(checks, reverse=True):
            error = Mux(checks[code], Const(code, ERROR_BITS), error)

        with m.FSM() as fsm:
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += command.eq(self.i.payload)
                with m.If(self.i.valid):
                    m.next = "SIZES"
            with m.State("SIZES"):
                m.d.sync += [
                    code_bits.eq(Mux(is_load, 1, k_atoms)),
                    code_term.eq(Mux(is_load, _in_atoms(k_atoms, params.activations_packed),
                                     _in_atoms(padded_rows, params.weights_packed))),
                    scale_bits.eq(Mux(is_load, 0, block_atoms)),
                    scale_term.eq(blocks),
                    source_atoms.eq(0),
                    other_atoms.eq(Mux(is_load, scale_atoms, result_atoms)),
                ]
                m.next = "MULTIPLY"
            with m.State("MULTIPLY"):
                m.d.sync += [
                    source_atoms.eq(source_atoms + Mux(code_bits[0], code_term, 0)
                                    + Mux(scale_bits[0], scale_term, 0)),
                    code_bits.eq(code_bits >> 1),
                    scale_bits.eq(scale_bits >> 1),
                    code_term.eq(code_term << 1),
                    scale_term.eq(scale_term << 1),
                ]
                with m.If(~(code_bits[1:].any() | scale_bits[1:].any())):
                    m.next = "ENDS"
            with m.State("ENDS"):
                m.d.sync += [source_end.eq(source + source_atoms),
                             other_end.eq(other + other_atoms)]
                m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += [
                    checked.opcode.eq(command.opcode),
                    checked.tag.eq(command.tag),
                    checked.error.eq(error),
                    checked.columns.eq(command.columns),
                    checked.k.eq(k),
                    checked.k_atoms.eq(k_atoms),
                    checked.rows.eq(rows),
                    checked.scale_atoms.eq(scale_atoms),
                    *([checked.zero_atoms.eq(zero_atoms)] if params.zeros_per_atom else []),
                    checked.transposed.eq(transposed),
                    *([checked.narrow.eq(narrow)] if second is not None else []),
                    checked.source.eq(source),
                    checked.source_atoms.eq(source_atoms),
                    checked.other.eq(other),
                    checked.other_atoms.eq(other_atoms),
                ]
                with m.If(~self.hold):
                    m.next = "RESULT"
            with m.State("RESULT"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.next = "IDLE"
        m.d.comb += [self.o.payload.eq(checked), self.busy.eq(~fsm.ongoing("IDLE"))]
        return m
