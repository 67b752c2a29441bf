"""Cocotb side of the DRAM model's tests: plays commands from a file, writes down the answers."""

import json
import os
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

__all__ = ["ROW_FIELDS", "play"]

ROW_FIELDS = ("command", "stack_id", "bank_group", "bank", "row")


@cocotb.test()
async def play(dut):
    """Send the commands of a job, each in its tile cycle; ``reset`` makes the device new.

    The job's cycles are ``[cycle, port, fields, data, strobe, ecc]``; answers ``[cycle, data,
    ecc]`` have the cycle at whose edge they stand.
    """
    job = json.loads(Path(os.environ["PNMTILE_JOB"]).read_text())
    sent = {}
    for cycle, port, *rest in job["commands"]:
        sent.setdefault(cycle, []).append((port, *rest))
    answers = []
    ports = {"row": ROW_FIELDS, "column": (*ROW_FIELDS, "column")}
    dut.rst.value = 1
    for port in ports:
        getattr(dut, f"dram_{port}_valid").value = 0
    Clock(dut.clk, 2, unit="ns").start()
    for _ in range(3):
        await FallingEdge(dut.clk)
    for cycle in range(job["cycles"]):
        dut.rst.value = int(cycle in job["resets"])
        for port in ports:
            getattr(dut, f"dram_{port}_valid").value = 0
        for port, fields, data, strobe, ecc in sent.get(cycle, []):
            getattr(dut, f"dram_{port}_valid").value = 1
            for name, value in zip(ports[port], fields, strict=True):
                getattr(dut, f"dram_{port}_{name}").value = value
            if port == "column":
                dut.dram_write_data.value = int(data, 16)
                dut.dram_write_strobe.value = strobe
                dut.dram_write_ecc.value = ecc
        if dut.dram_read_valid.value == 1:
            answers.append([cycle, hex(dut.dram_read_data.value.to_unsigned()),
                            dut.dram_read_ecc.value.to_unsigned()])
            Path(job["answers"]).write_text(json.dumps(answers))
        await FallingEdge(dut.clk)
