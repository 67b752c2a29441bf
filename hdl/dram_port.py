"""The command port: what stands between the memory controller and a PHY.

In each tile cycle at most one row command and one column command; which cycle of the grade's clock
they are sent in says :meth:`spec.memory_units.MemoryControllerParams.phase`. Fields are those of
:class:`spec.grade.DramAddress`; a field that the grade does not have is one bit, always 0.
"""

from amaranth.lib.wiring import In, Out

from spec.memory_units import MemoryControllerParams

__all__ = ["COMMAND_BITS", "command_members", "data_members"]

COMMAND_BITS = 4


def command_members(params: MemoryControllerParams) -> dict:
    """Members of the command port; commands are :class:`spec.dram_rules.DramCommand`."""
    bits = {field.name: max(1, field.bits) for field in params.grade.address_fields}
    bank = {name: bits[name] for name in ("stack_id", "bank_group", "bank")}
    members = {}
    for bus, fields in (("row", {**bank, "row": bits["row"]}),
                        # The row of an access is for checkers; a PHY has no use for it.
                        ("column", {**bank, "row": bits["row"], "column": bits["column"]})):
        members[f"dram_{bus}_valid"] = Out(1)
        members[f"dram_{bus}_command"] = Out(COMMAND_BITS)
        members |= {f"dram_{bus}_{name}": Out(width) for name, width in fields.items()}
    return members


def data_members(params: MemoryControllerParams) -> dict:
    """Members of the data port.

    ``dram_write_*`` come with their WR or WRA. ``dram_read_*`` must come exactly ``read_latency``
    cycles after their RD or RDA; an atom that does not is lost. ``*_ecc`` are the check bits, a
    byte per 64-bit word, where the description has ``ecc = "secded"``.
    """
    members = {
        "dram_write_data": Out(params.atom_bits),
        "dram_write_strobe": Out(params.atom_bits // 8),
        "dram_read_valid": In(1),
        "dram_read_data": In(params.atom_bits),
    }
    if params.ecc_bits:
        members |= {"dram_write_ecc": Out(params.ecc_bits), "dram_read_ecc": In(params.ecc_bits)}
    return members
