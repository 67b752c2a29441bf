"""Command checker: whether a command may start, and the sizes of its regions."""

from collections.abc import Sequence
from dataclasses import dataclass

from spec.commands import FIELDS, Command, ErrorCode, Opcode
from spec.units import CommandCheckerParams

__all__ = ["CommandSizes", "command_checker", "command_sizes"]


@dataclass(frozen=True)
class CommandSizes:
    """Sizes of a LOAD or a GEMV, in atoms.

    ``k_atoms`` of one row of weights or one vector of activations (of packed codes, beats of one
    and a half), ``scale_atoms`` of the scales of
    one vector (LOAD) or in front of one block (GEMV), ``zero_atoms`` of the zero points behind
    these, ``source_atoms`` and ``other_atoms`` of the two regions: the other is at
    ``source_scales`` (LOAD) or ``target`` (GEMV).
    """

    k_atoms: int
    scale_atoms: int
    zero_atoms: int
    source_atoms: int
    other_atoms: int


def _ceil_divide(value: int, divisor: int) -> int:
    return -(-value // divisor)


def command_sizes(command: Command, params: CommandCheckerParams) -> CommandSizes:
    """Return the sizes of a LOAD or a GEMV whose format, K and rows are legal."""
    params = params.formats[command.format_index]
    k_atoms = _ceil_divide(command.k, params.lanes)
    groups = _ceil_divide(command.k, params.group)
    if command.opcode == Opcode.LOAD:
        k_atoms *= params.activation_atoms
        code_atoms = _ceil_divide(3 * k_atoms, 2) if params.activations_packed else k_atoms
        scale_atoms = (_ceil_divide(groups, params.scales_per_atom)
                       + params.tensor_scale_atoms)
        return CommandSizes(k_atoms, scale_atoms, 0, code_atoms, scale_atoms)
    scale_atoms = (_ceil_divide(groups * params.scale_rows, params.scales_per_atom)
                   + params.tensor_scale_atoms)
    zero_atoms = (_ceil_divide(groups * params.scale_rows, params.zeros_per_atom)
                  if params.zeros_per_atom else 0)
    strips = _ceil_divide(command.rows, params.rows_per_strip)
    code_atoms = strips * params.rows_per_strip * k_atoms
    if params.weights_packed:
        # A strip has an even number of rows.
        code_atoms = code_atoms * 3 // 2
    blocks = _ceil_divide(command.rows, params.rows_per_block)
    return CommandSizes(
        k_atoms, scale_atoms, zero_atoms,
        code_atoms + blocks * (scale_atoms + zero_atoms),
        _ceil_divide(command.k if command.transposed else command.rows,
                     params.rows_per_result_atom))


def command_checker(command: Command, window: tuple[int, int], loaded: Sequence[int],
                    params: CommandCheckerParams) -> ErrorCode:
    """Return the first check that fails, in the order of :class:`spec.commands.ErrorCode`.

    ``window`` is ``[base, limit)`` in bytes; bits below an atom and above bit ``address_bits`` are
    ignored. A region must lie within the window and within ``memory_atoms``. ``loaded`` has the
    length of each column's vector, and above it, of two formats, which one it has.
    """
    opcode = command.opcode
    load, gemv = opcode == Opcode.LOAD, opcode == Opcode.GEMV
    if opcode not in (Opcode.LOAD, Opcode.GEMV, Opcode.FENCE):
        return ErrorCode.OPCODE
    if any(getattr(command, field.name) for field in FIELDS if opcode not in field.used_by):
        return ErrorCode.RESERVED
    if opcode == Opcode.FENCE:
        return ErrorCode.NONE
    if (command.source_format or command.format_index > params.narrow_bits
            or command.transposed and not params.transposed):
        return ErrorCode.FORMAT
    if command.columns not in (range(params.columns) if load else range(1, params.columns + 1)):
        return ErrorCode.COLUMNS
    if not 1 <= command.k <= params.k_max:
        return ErrorCode.K
    # By transposed weights, a vector has an element for each row.
    rows_max = params.k_max if command.transposed else params.rows_max
    if gemv and not 1 <= command.rows <= rows_max:
        return ErrorCode.ROWS
    atom_bytes = params.memory.atom_bits // 8
    other = command.source_scales if load else command.target
    if command.source % atom_bytes or other % atom_bytes:
        return ErrorCode.ALIGNMENT

    sizes = command_sizes(command, params)
    space = 1 << params.memory.address_bits
    base, limit = (address & (2 * space - 1) & -atom_bytes for address in window)
    regions = ((command.source, sizes.source_atoms * atom_bytes),
               (other, sizes.other_atoms * atom_bytes))
    for address, size in regions:
        if address < base or address + size > min(limit, params.memory_atoms * atom_bytes):
            return ErrorCode.WINDOW
    length = command.rows if command.transposed else command.k
    length |= command.format_index << params.k_bits
    if gemv and any(k != length for k in loaded[:command.columns]):
        return ErrorCode.NOT_LOADED
    (source, source_bytes), (other, other_bytes) = regions
    if gemv and source < other + other_bytes and other < source + source_bytes:
        return ErrorCode.OVERLAP
    return ErrorCode.NONE
