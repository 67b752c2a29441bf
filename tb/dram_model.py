"""The DRAM of one pseudo-channel in a simulation: what it is told, and how it is instantiated.

``tb/dram_model.sv`` stands at the command port of a controller, ``tb/dram_model.cpp`` holds its
bytes and judges every command with ``tb/dram_checker.cpp``. All numbers come from
:func:`model_text`. A broken rule ends the simulation as failed, with the checker's words.
"""

from pathlib import Path

from spec.dram_rules import COLUMN_COMMANDS, DramCommand
from spec.memory_units import MemoryControllerParams
from spec.secded import CHECK_COLUMNS
from tb.dram_checker import checker_text

__all__ = ["MODELS", "SOURCES", "field_bits", "model_arguments", "model_instance", "model_text",
           "port_bits", "read_counts"]

_HERE = Path(__file__).parent

# What ``tb.simulator.build_simulation`` needs to build a simulation with the model in it.
SOURCES = (_HERE / "dram_model.sv",)
MODELS = (_HERE / "dram_model.cpp", _HERE / "dram_checker.cpp")

_COLUMN_FIELDS = ("stack_id", "bank_group", "bank", "row", "column")
_ROW_FIELDS = ("stack_id", "bank_group", "bank", "row")


def field_bits(params: MemoryControllerParams) -> dict[str, int]:
    """Width of each address field on the command port; a field without bits has a wire of one."""
    return {field.name: max(1, field.bits) for field in params.grade.address_fields}


def model_text(params: MemoryControllerParams) -> str:
    """Write all that the model has to know of a pseudo-channel as ``tb/dram_model.cpp`` reads it.

    What follows the line ``checker`` is :func:`tb.dram_checker.checker_text`.
    """
    checks = " ".join(map(str, CHECK_COLUMNS))
    inline = params.inline_ecc
    inverted = -1 if inline.inverted_place is None else inline.inverted_place
    order = " ".join(map(str, inline.check_order))
    return "\n".join([
        f"tile {params.cycle_ck} {params.read_latency} {params.atom_bits // 8}",
        *(f"field {field.name} {field.low} {field.bits}" for field in params.grade.address_fields),
        *(f"command {command.value} {command.name} "
          f"{'column' if command in COLUMN_COMMANDS else 'row'} {params.phase(command)}"
          for command in DramCommand),
        *([f"check {checks}"] if params.ecc == "secded" else []),
        *([f"inline {inverted} {order}"] if params.ecc_inline else []),
        "checker", checker_text(params.grade)])


def model_arguments(params: MemoryControllerParams, folder: Path, memory: Path, *,
                    faults: Path | None = None, trace: Path | None = None,
                    accesses: Path | None = None, counts: Path | None = None) -> tuple[str, ...]:
    """Write the model's text into ``folder``; return the arguments of the simulation.

    ``memory`` is the file of the stored bytes: address 0 is its first byte, and it is made as long
    as the pseudo-channel, without the disk space of what is never written.

    ``faults`` has a line per fault. Reads are numbered from 0 since the simulation began; bits of
    an atom are those of its data, then, with SECDED, its check bits:

    - ``read NUMBER BIT...``: the answer of one read has these bits flipped.
    - ``store ADDRESS BIT...``: the stored atom at a byte address has them flipped from the start;
      with inline check bits, those of the atom are where the region has them.
    - ``silent FIRST COUNT``: reads FIRST to FIRST + COUNT - 1 never answer.

    ``trace`` gets every command as :func:`tb.dram_checker.read_trace` reads it. ``accesses`` gets
    ``LD 0xADDRESS`` for each RD and RDA and ``ST 0xADDRESS`` for each WR and WRA, with the tile's
    byte address: what the ``LoadStoreTrace`` frontend of Ramulator 2 reads. (Its ``ReadWriteTrace``
    takes ``R`` and ``W``, but with address vectors of a Ramulator organisation.) ``counts`` gets
    the number of commands, see :func:`read_counts`. All three begin anew with a reset.

    :Source: CMU-SAFARI/ramulator2, src/frontend/impl/memory_trace/loadstore_trace.cpp and
        readwrite_trace.cpp.
    """
    text = folder / "dram_model.txt"
    text.write_text(model_text(params), encoding="utf-8")
    files = {"dram": text, "memory": memory, "faults": faults, "trace": trace,
             "accesses": accesses, "counts": counts}
    return tuple(f"+{name}={path}" for name, path in files.items() if path is not None)


def read_counts(path: Path) -> dict[str, int]:
    """Commands by name, all of :class:`spec.dram_rules.DramCommand`, that a simulation sent."""
    lines = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return {name: int(number) for name, number in lines}


def port_bits(params: MemoryControllerParams) -> dict[str, int]:
    """Width of each signal between controller and DRAM, by its name."""
    fields, atom, ecc = field_bits(params), params.atom_bits, params.ecc_bits
    ports = {"row_valid": 1, "row_command": 4, **{f"row_{name}": fields[name]
                                                  for name in _ROW_FIELDS},
             "column_valid": 1, "column_command": 4, **{f"column_{name}": fields[name]
                                                        for name in _COLUMN_FIELDS},
             "write_data": atom, "write_strobe": atom // 8, "write_ecc": ecc,
             "read_valid": 1, "read_data": atom, "read_ecc": ecc}
    return {f"dram_{name}": bits for name, bits in ports.items() if bits}


def model_instance(params: MemoryControllerParams, name: str = "memory") -> str:
    """Instantiate the model in a SystemVerilog module.

    That module has ``clk``, ``rst`` and wires named as the ports of the controller.
    """
    parameters = {"ATOM_BITS": params.atom_bits,
                  **{f"{field.upper()}_BITS": bits for field, bits in field_bits(params).items()}}
    connections = [".clk(clk)", ".rst(rst)", *(f".{port}({port})" for port in port_bits(params)),
                   *([] if params.ecc_bits else [".dram_write_ecc('0)", ".dram_read_ecc()"])]
    values = ", ".join(f".{key}({value})" for key, value in parameters.items())
    lines = ",\n        ".join(connections)
    return f"    dram_model #({values}) {name} (\n        {lines}\n    );\n"
