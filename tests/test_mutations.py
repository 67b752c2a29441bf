"""Deliberately broken RTL: ``pnmtile verify`` must find it, and name the unit."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import PROJECT
from tools.cli import HELD, NOT_HELD

pytestmark = pytest.mark.cosim

COPIED = ("constraints", "golden", "hdl", "host", "spec", "tb", "tiles", "tools")
SMALLEST, ODD = "tests/descriptions/smallest.toml", "tests/descriptions/odd.toml"
NATIVE = "tests/descriptions/native_small.toml"
TENSORS = "tests/descriptions/tensors.toml"
NATIVE_TENSORS = "tests/descriptions/native_tensors.toml"
BLOCKS = "tests/descriptions/blocks.toml"
MXFP4, NVFP4, MXFP6, UINT4, INT4_FP8, ALIGNED, FP32_TREE, BF16 = (
    f"tests/descriptions/{name}.toml"
    for name in ("mxfp4", "nvfp4", "mxfp6", "uint4", "int4_fp8", "aligned", "fp32_tree", "bf16"))
SEVERAL, INT8_INT4, UINT4_INT8 = (
    f"tests/descriptions/{name}.toml" for name in ("several", "int8_int4", "uint4_int8"))


@dataclass(frozen=True)
class Mutation:
    """``old`` becomes ``new`` in one file of ``hdl``; the benches of all ``units`` must fail."""

    name: str
    file: str
    old: str
    new: str
    units: tuple[str, ...]
    tile: str = ODD


MUTATIONS = (
    Mutation("lane_dropped", "dot_array",
             "summed(m, terms, params", "summed(m, terms[:-1], params",
             ("dot_array", "tile"), SMALLEST),
    Mutation("accumulator_a_bit_short", "dot_array",
             "total.value.eq(beat_sum + Mux(first, 0, total.value))",
             "total.value.eq((beat_sum + Mux(first, 0, total.value))[:-2].as_signed())",
             ("dot_array",)),
    Mutation("sign_of_an_integer_ignored", "decoder",
             "decoded.significand[-1] if signed_significand else self.sign",
             "self.sign", ("dot_array",), "tests/descriptions/int8_fp8.toml"),
    Mutation("scales_of_a_beat_swapped", "column",
             "side.word_select(place, bits)", "side.word_select(place ^ 1, bits)",
             ("column", "tile"), MXFP4),
    Mutation("scale_of_a_block_a_bit_short", "block_dot_array",
             "weight * activation, f", "(weight * activation)[:-1], f",
             ("block_dot_array", "column", "tile"), NVFP4),
    Mutation("nan_of_a_scale_with_a_sign_lost", "block_dot_array",
             "side[place][:-1].all()", "side[place] == 0x7F", ("block_dot_array",), NVFP4),
    Mutation("row_starts_from_the_last_sum", "block_dot_array",
             "Mux(first, 0, total.value)", "total.value", ("block_dot_array", "tile"), NVFP4),
    Mutation("scale_of_a_tensor_too_late", "tile",
             "delayed(m, tensor, buffer.params.LATENCY, name)", "tensor", ("tile",), NVFP4),
    Mutation("atom_of_the_tensor_not_counted", "command_checker",
             "                           + params.tensor_scale_atoms", "",
             ("command_checker", "tile"), NVFP4),
    Mutation("half_of_an_atom_lost", "gearbox",
             "Cat(held[:half], atom.data)", "Cat(atom.data[half:], atom.data)",
             ("gearbox", "tile"), MXFP6),
    Mutation("fault_of_the_first_atom_lost", "gearbox",
             "Mux(count == 2, ReadFault.NONE, atom.fault)", "ReadFault.NONE", ("gearbox",), MXFP6),
    Mutation("half_atoms_not_counted", "command_checker",
             "beats + ((beats + 1) >> 1) if packed", "beats + (beats >> 1) if packed",
             ("command_checker", "tile"), MXFP6),
    Mutation("scales_taken_as_packed", "sequencer",
             'if state == "LOAD_CODES" and', "if", ("sequencer", "tile"), MXFP6),
    Mutation("zero_point_of_a_neighbour", "zero_subtractor",
             "[lane // (params.lanes // params.groups)]",
             "[lane // (params.lanes // params.groups) ^ 1]", ("zero_subtractor", "tile"), UINT4),
    Mutation("zero_points_too_early", "tile",
             'delayed(m, beats.payload.weights, zeros.params.LATENCY, "weights")',
             'delayed(m, beats.payload.weights, 1, "weights")', ("tile",), UINT4),
    Mutation("zero_points_read_as_scales", "sequencer",
             '"GEMV_ZEROS" if zeros else "GEMV_WEIGHTS")]', '"GEMV_WEIGHTS")]',
             ("sequencer", "tile"), UINT4),
    Mutation("odd_products_count_in_wide_beats", "subword_dot_array",
             "~odd_term[-1] & narrow", "~odd_term[-1]",
             ("subword_dot_array", "column", "tile"), SEVERAL),
    Mutation("groups_of_a_narrow_beat_added", "subword_dot_array",
             "both + Mux(narrow, 0, sums[1])", "both + sums[1]",
             ("subword_dot_array", "column", "tile"), SEVERAL),
    Mutation("digit_of_an_odd_weight_sees_the_even_one", "subword_dot_array",
             "lower & ~beat.narrow", "lower", ("subword_dot_array", "column", "tile"), INT8_INT4),
    Mutation("negative_digit_is_only_the_complement", "booth",
             "digits[place - 1][0]", "Const(0, 1)", ("dot_array", "tile"), UINT4_INT8),
    Mutation("top_digit_without_its_sign", "booth",
             "*([code[-1]] if len(code) % 2 else [])", "*([Const(0, 1)] if len(code) % 2 else [])",
             ("dot_array", "tile"), UINT4_INT8),
    Mutation("odd_codes_of_a_wide_beat_kept", "subword_decoder",
             "Mux(narrow, code[bits:], 0)", "code[bits:]", ("subword_decoder", "tile"), SEVERAL),
    Mutation("narrow_groups_as_long_as_wide_ones", "sequencer",
             "Const(beats - 1) for beats in params.turn_beats",
             "Const(params.span_beats - 1) for beats in params.turn_beats",
             ("sequencer", "tile"), SEVERAL),
    Mutation("scales_of_narrow_groups_counted_one_by_one", "sequencer",
             "Mux(narrow, scale << params.scale_part_bits, scale)", "scale",
             ("sequencer", "tile"), SEVERAL),
    Mutation("format_of_a_vector_ignored", "command_checker",
             "(self.loaded[column] == wanted)",
             "(self.loaded[column][:params.k_bits] == length)",
             ("command_checker", "tile"), SEVERAL),
    Mutation("atoms_of_the_other_format", "command_checker",
             "by_format(lambda one: _ceil_divide(k, one.lanes))", "_ceil_divide(k, params.lanes)",
             ("command_checker", "tile"), SEVERAL),
    Mutation("first_scale_for_both_wide_groups", "tile",
             "scales.word_select(part, bits)", "scales.word_select(0, bits)", ("tile",), SEVERAL),
    Mutation("scale_of_no_group_kept", "column",
             "[Mux(beat.narrow, scale, 0) for scale in scales]", "scales", ("column",), SEVERAL),
    Mutation("place_of_an_atom_ignored", "activation_buffer",
             "& (address[:params.part_bits] == part)", "", ("activation_buffer", "tile"),
             INT4_FP8),
    Mutation("sum_left_as_it_is", "aligned_dot_array",
             "kept.eq(held.significand >> (place - held.place)[:params.place_bits])",
             "kept.eq(held.significand)", ("aligned_dot_array", "tile"), ALIGNED),
    Mutation("zero_products_count", "aligned_dot_array",
             "Mux(nonzero, Cat(place, Const(1, 1)), 0)", "Cat(place, Const(1, 1))",
             ("aligned_dot_array",), ALIGNED),
    Mutation("sum_a_bit_longer", "aligned_dot_array",
             "below = params.bits - 1\n        place_of_beat", "below = params.bits\n"
             "        place_of_beat", ("aligned_dot_array", "column"), ALIGNED),
    Mutation("subnormal_flushed", "fp32",
             "m, Cat(Const(0, padding), significand), below,",
             "m, Mux(below.any(), 0, Cat(Const(0, padding), significand)), below,",
             ("aligned_dot_array",), BF16),
    Mutation("sign_of_a_product_dropped", "fp32_dot_array",
             "negative = sign ^ (product < 0)", "negative = sign",
             ("fp32_dot_array", "tile"), FP32_TREE),
    Mutation("promoted_too_late", "sequencer",
             "beats.last.eq(span_end & (row_end | span[:sum_bits].all())),",
             "beats.last.eq(span_end & row_end),", ("sequencer", "tile"), ALIGNED),
    Mutation("valid_ignored", "dot_array",
             "with m.If(valid):\n            m.d.sync += total.value",
             "with m.If(1):\n            m.d.sync += total.value", ("dot_array",)),
    Mutation("nan_of_an_activation_dropped", "dot_array",
             "nans[lane].eq(weight.nan | activation.nan | infinite & zero)",
             "nans[lane].eq(weight.nan | infinite & zero)",
             ("dot_array", "tile"), SMALLEST),
    Mutation("ties_away_from_zero", "fp32",
             "significand[below - 1] & (significand[:below - 1].any() | kept[0])",
             "significand[below - 1]",
             ("fp32_rounder", "fp32_adder")),
    Mutation("sticky_bit_dropped", "shift",
             "lost.eq(sticky | count[stage] & value[:step].any())",
             "lost.eq(count[stage] & value[:step].any())",
             ("fp32_multiplier",)),
    Mutation("far_shifts_forgotten", "shift",
             "gone = count[stages:].any()", "gone = Const(0, 1)", ("fp32_adder",)),
    Mutation("scale_off_by_one", "group_scaler",
             "exponent.eq(total.exponent + scale[:9] - 2 * FP32.bias)",
             "exponent.eq(total.exponent + scale[:9] - 2 * FP32.bias + 1)",
             ("group_scaler", "tile"), SMALLEST),
    Mutation("nan_of_a_weight_scale_dropped", "scale_combiner",
             "activation.all() | weight.all()", "activation.all()", ("column",), SMALLEST),
    Mutation("scale_of_the_wrong_group", "sequencer",
             "beats.activation_scale.eq(numbered(group)),",
             "beats.activation_scale.eq(numbered(group + 1)),",
             ("sequencer", "tile"), SMALLEST),
    Mutation("address_off_by_one", "sequencer",
             "m.d.sync += address.eq(span_base)", "m.d.sync += address.eq(span_base + 1)",
             ("sequencer",)),
    Mutation("room_for_results_ignored", "sequencer",
             "held = weights_phase & room[-1]", "held = Const(0, 1)", ("sequencer",)),
    Mutation("no_bypass_in_the_accumulator", "row_accumulator",
             "Mux(adder.o.valid & (slot_out == slot), adder.o.payload, total)", "total",
             ("row_accumulator",), SMALLEST),
    Mutation("window_not_checked", "command_checker",
             "(outside(command.source, source, source_end)", "(0",
             ("command_checker", "tile"), SMALLEST),
    Mutation("overlap_not_checked", "command_checker",
             "(source < other_end) & (other < source_end) & is_gemv", "Const(0, 1)",
             ("command_checker",), SMALLEST),
    Mutation("columns_not_masked", "result_packer",
             "Mux(columns > column, element, Const(0, fmt.bits))", "element",
             ("result_packer",)),
    Mutation("item_without_valid", "skid_buffer",
             "take = self.i.valid & self.i.ready", "take = self.i.ready",
             ("skid_buffer",), SMALLEST),
    Mutation("item_over_a_full_buffer", "skid_buffer",
             "free.eq(~fills & (writes == place))", "free.eq(writes == place)",
             ("skid_buffer",), SMALLEST),
    Mutation("entry_over_a_full_fifo", "fifo",
             "full.eq(~get & (full | put & (level == places - 1)))",
             "full.eq(~get & put & (level == places - 1))",
             ("fifo",), SMALLEST),
    Mutation("fifo_read_before_it_is_written", "fifo",
             "some.eq(put | some & ~(get & (level == 1)))", "some.eq(put | (level != 0))",
             ("fifo",), SMALLEST),
    Mutation("fixed_point_sign_not_made_good", "dot_array",
             "return 1 << params.product_bits - 1", "return 1 << params.product_bits - 2",
             ("dot_array", "column", "tile")),
    Mutation("rank_of_the_adder_tree_for_some", "sum_tree",
             "values = [registered(m, value, f\"sum_{rank}_{place}\")",
             "values = [value if rank + place == 0 else registered(m, value, f\"s{rank}_{place}\")",
             ("dot_array", "column", "tile")),
    Mutation("row_a_cycle_early", "column",
             "delayed(m, row, params.scaled_cycles,", "delayed(m, row, params.scaled_cycles - 1,",
             ("column", "tile")),
    Mutation("cut_misses_the_sign", "fp32_adder",
             "added_sign=sign, added_nan=nan", "added_sign=large.sign, added_nan=nan",
             ("fp32_adder", "row_accumulator", "column", "tile")),
    Mutation("cast_without_its_rank", "code_caster",
             "rounded, tiny, base = cut(m, self.params.ranks", "rounded, tiny, base = cut(m, 0",
             ("quantizer", "tile"), TENSORS),
    Mutation("burst_a_beat_too_long", "axi4_reader",
             "self.m_axi_arlen.eq(burst.payload.beats - 1)",
             "self.m_axi_arlen.eq(burst.payload.beats)",
             ("axi4_reader",)),
    Mutation("too_many_bursts_under_way", "axi4_reader",
             "free = (in_flight != params.outstanding_bursts) | ended",
             "free = Signal(init=1)",
             ("axi4_reader",)),
    Mutation("late_answers_not_dropped", "axi4_reader",
             "dropping = stale != 0", "dropping = Const(0, 1)", ("axi4_reader",)),
    Mutation("request_withdrawn", "axi4_reader",
             "with m.If(timeout):\n",
             "with m.If(timeout):\n            m.d.sync += self.m_axi_arvalid.eq(0)\n",
             ("axi4_reader",)),
    Mutation("late_responses_not_dropped", "axi4_writer",
             "stale.eq(stale + awaited - answered),", "stale.eq(0),", ("axi4_writer",)),
    Mutation("atoms_given_up_are_written_later", "axi4_writer",
             "skip.eq(skip + here + queue.i.valid - (skipping & queue.o.valid)),", "skip.eq(-1),",
             ("axi4_writer",)),
    Mutation("burst_written_before_its_atoms_are_here", "axi4_writer",
             "(here >= burst.beats)", "(here != 0)", ("axi4_writer",)),
    Mutation("end_of_the_memory_not_checked", "command_checker",
             "| (end > params.memory_atoms)", "| 0",
             ("command_checker",), SMALLEST),
    Mutation("last_fault_of_a_command_reported", "sequencer",
             "with m.If(take & (read_fault == ReadFault.NONE)):", "with m.If(take):",
             ("sequencer",), SMALLEST),
    Mutation("last_uncorrectable_address_kept", "register_file",
             "self.uncorrectable.valid & (clear[0] | ~uncorrectable)",
             "self.uncorrectable.valid", ("register_file",), SMALLEST),
    Mutation("byte_strobes_ignored", "register_file",
             "(stored[name] & ~write.mask) | (write.data & write.mask)", "write.data",
             ("register_file",), SMALLEST),
    Mutation("tRCDRD_one_short", "bank_state",
             "after_activate - to_read + 1)", "after_activate - to_read + 2)",
             ("memory_controller",), NATIVE),
    Mutation("row_open_for_the_next_of_another_row", "bank_queues",
             "more.eq(~last & link.data[entry_bits])", "more.eq(~last)",
             ("bank_queues", "memory_controller"), NATIVE),
    Mutation("row_closed_before_the_next_of_the_same", "bank_queues",
             "more.eq(~last & link.data[entry_bits])", "more.eq(0)", ("bank_queues",), NATIVE),
    Mutation("linked_to_a_request_that_has_left", "bank_queues",
             "link_in.en.eq(self.push.valid & ~alone)", "link_in.en.eq(self.push.valid)",
             ("bank_queues",), NATIVE),
    Mutation("pushed_while_the_last_leaves", "bank_queues",
             "alone.eq(~held[push.bank] | (served & same_bank & last))",
             "alone.eq(~held[push.bank])", ("bank_queues",), NATIVE),
    Mutation("refresh_never_urgent", "refresh_scheduler",
             "urgent.append(count >= params.refreshes_gathered)",
             "urgent.append(count > postponed + 1)", ("memory_controller",), NATIVE),
    Mutation("tRRDL_ignored", "command_scheduler",
             "self._distance(ACT, ACT, Scope.GROUP)", "self._distance(ACT, ACT, *OUTSIDE)",
             ("memory_controller",), NATIVE),
    Mutation("write_to_read_one_short", "command_scheduler",
             "self._distance(WR, RD, *everywhere)", "self._distance(WR, RD, *everywhere) - 1",
             ("memory_controller",), NATIVE),
    Mutation("written_before_it_is_sent", "write_buffer",
             "(count != 0) & done[oldest]", "count != 0", ("memory_controller",), NATIVE),
    Mutation("answers_in_the_order_of_the_dram", "reorder_buffer",
             "write.addr.eq(self.fill.payload.slot),", "write.addr.eq(oldest),",
             ("reorder_buffer", "memory_controller"), NATIVE),
    Mutation("share_of_the_host_ignored", "memory_controller",
             "wants_host & (host_turn | ~wants_tile)", "wants_host",
             ("memory_controller",), NATIVE),
    Mutation("lost_atom_not_missed", "memory_controller",
             "due & ~self.dram_read_valid", "due & 0", ("memory_controller",), NATIVE),
    Mutation("uncorrectable_atom_taken", "memory_controller",
             "Mux(answer.uncorrectable, ReadFault.UNCORRECTABLE, ReadFault.NONE)",
             "ReadFault.NONE", ("memory_controller",), NATIVE),
    Mutation("atom_not_read_before_a_part_is_written", "host_port",
             "part = ~dropped & ~atom.all if merge.possible else Const(0)",
             "part = Const(0)", ("host_port",), NATIVE),
    Mutation("every_tie_rounds_up", "code_caster",
             "bool(place & (below << 1))", "bool(place & below)", ("quantizer",), NATIVE_TENSORS),
    Mutation("step_of_subnormal_codes_halved", "code_caster",
             '"offset_missing": 1 - offset + e5m2', '"offset_missing": e5m2 - offset',
             ("quantizer",), NATIVE_TENSORS),
    Mutation("nan_of_a_group_dropped", "scale_maker",
             "special = amax[FP32.mantissa_bits:].all()", "special = Const(0, 1)",
             ("quantizer",), NATIVE_TENSORS),
    Mutation("scale_rounded_without_its_guard_bit", "scale_maker",
             "Cat(remainder.any(), remainder >= 4, eighths[:-1])",
             "Cat(remainder.any(), Const(0, 1), eighths[:-1])", ("quantizer",), NATIVE_TENSORS),
    Mutation("largest_of_the_group_before_kept", "quantizer",
             "before.eq(Mux(group_last, 0, total))", "before.eq(total)",
             ("quantizer",), NATIVE_TENSORS),
    Mutation("room_for_one_group_only", "quantizer",
             "depth = params.buffer_atoms + levels + maker.latency + _OTHER_CYCLES",
             "depth = params.buffer_atoms", ("quantizer",), TENSORS),
    Mutation("scales_after_each_row", "row_packer",
             "code_atoms.i.payload.eq(Cat(codes, run_last))",
             "code_atoms.i.payload.eq(Cat(codes, item.last))", ("row_packer",), NATIVE_TENSORS),
    Mutation("codes_past_the_count_kept", "code_caster",
             "codes.append(Mux(counts(count, lane), code, Const(0, 8)))",
             "codes.append(code)", ("quantizer",), NATIVE_TENSORS),
    Mutation("bits_shifted_out_of_a_product_forgotten", "converter",
             "Cat(shifted[0] | shifted[1], shifted[2:-1], field)",
             "Cat(shifted[1], shifted[2:-1], field)", ("converter",), TENSORS),
    Mutation("bits_below_bf16_forgotten", "converter",
             "product.lost.eq(bits[:CUT + 1].any())", "product.lost.eq(bits[CUT])",
             ("converter",), TENSORS),
    Mutation("chains_not_begun_anew", "chain_sum",
             "chain.eq(Mux(last, 0, chain + 1))", "chain.eq(chain + 1)",
             ("reducer",), NATIVE_TENSORS),
    Mutation("sums_begin_at_positive_zero", "chain_sum",
             "Const(0 if self.positive else FP32.sign_mask, self.bits)", "Const(0, self.bits)",
             ("reducer",), NATIVE_TENSORS),
    Mutation("last_of_equal_elements_found", "maximum_tree",
             "second[:bits] > first[:bits]", "second[:bits] >= first[:bits]",
             ("reducer",), NATIVE_TENSORS),
    Mutation("last_of_equal_atoms_found", "running_maximum",
             "first | (key > largest)", "first | (key >= largest)",
             ("reducer",), NATIVE_TENSORS),
    Mutation("columns_rotated_the_wrong_way", "transposer",
             "byte = (bank - rotation)[:bank_bits]", "byte = (bank + rotation)[:bank_bits]",
             ("transposer",), NATIVE_TENSORS),
    Mutation("elements_past_the_rows_kept", "transposer",
             "Mux(Mux(about_3.wide, place // 2, place) < about_3.count,", "Mux(1,",
             ("transposer",), NATIVE_TENSORS),
    Mutation("codes_kept_after_a_write", "window_planner",
             "with m.If(self.changed | self.loading):", "with m.If(self.loading):",
             ("cast_window",), NATIVE_TENSORS),
    Mutation("scales_taken_for_there_by_their_first_unit", "window_planner",
             "(read.final < high)", "(read.place < high)", ("cast_window",), NATIVE_TENSORS),
    Mutation("displaced_scales_taken_for_there", "window_planner",
             "with m.If(place == limit):", "with m.If(0):", ("cast_window",), NATIVE_TENSORS),
    Mutation("overlap_of_a_tensor_not_checked", "tensor_checker",
             "overlap.eq(overlap | region[1] & meets)", "overlap.eq(0)",
             ("tensor_checker",), NATIVE_TENSORS),
    Mutation("tensor_an_atom_behind_the_window", "tensor_checker",
             "(highest > limit)", "(highest > limit + 1)",
             ("tensor_checker",), NATIVE_TENSORS),
    Mutation("rows_of_a_short_block_follow_at_once", "sequencer",
             "with m.If(take & span_end & (last_slot < params.row_distance - 1)):",
             "with m.If(0):", ("sequencer",), BLOCKS),
    Mutation("weights_read_that_are_given", "sequencer",
             "read_source.eq(~self.given), write_results.eq(1),",
             "read_source.eq(1), write_results.eq(1),", ("sequencer",), BLOCKS),
    Mutation("scale_of_the_group_for_that_of_the_block", "sequencer",
             "Mux(transposed, strip, group)", "group", ("sequencer",), BLOCKS),
    Mutation("results_of_transposed_weights_counted_by_rows", "command_checker",
             "_ceil_divide(Mux(transposed, k, rows), params.rows_per_result_atom)",
             "_ceil_divide(rows, params.rows_per_result_atom)", ("command_checker",), BLOCKS),
    Mutation("writes_from_before_the_window_forgotten", "write_watch",
             "came & inside | self.all_writes", "came & inside", ("cast_window",), NATIVE_TENSORS),
    Mutation("refused_while_results_may_come", "host_port",
             "waiting.r_rdy | ~self.producing & ~self.results.valid",
             "waiting.r_rdy | ~self.results.valid", ("host_port",), NATIVE_TENSORS),
    Mutation("zeros_of_both_signs_make_a_negative_one", "fixed_sum",
             "zeros.append(code == E4M3.sign_mask)", "zeros.append(~code[:-1].any())",
             ("reducer",), TENSORS),
    Mutation("writing_ends_with_the_first_region", "region_writer",
             "closing.eq(region.last)", "closing.eq(1)", ("region_writer",), NATIVE),
    Mutation("tail_of_a_row_by_the_wrong_width", "tensor_reads",
             "places & (lanes // 2 - 1)", "places & (lanes - 1)", ("tile",), BLOCKS),
    Mutation("band_begins_where_the_last_block_ended", "tensor_reads",
             "row.eq(Mux(first, following, band))", "row.eq(following)", ("tile",), BLOCKS),
    Mutation("one_scale_for_all_lanes", "tensor_beats",
             "lane.eq(at_lane + (group_ends & ~span.scales))", "lane.eq(at_lane)",
             ("tile",), BLOCKS),
    Mutation("copied_codes_before_their_scales", "tensor_writes",
             "with m.If(copied):\n", "with m.If(0):\n", ("tile",), BLOCKS),
    Mutation("scales_of_the_last_band_missed", "tensor_path",
             "ends = (number == block - 1) | (left == 1)", "ends = number == block - 1",
             ("tile",), BLOCKS),
    Mutation("elements_past_the_row_written", "tensor_path",
             "_cleared(converter.o.payload, target)", "converter.o.payload.data",
             ("tile",), BLOCKS),
    Mutation("results_of_the_command_before_counted", "reduction_packer",
             "m.d.sync += left.eq(self.results)", "m.d.sync += left.eq(0)",
             ("tile",), BLOCKS),
    Mutation("regions_joined_that_do_not_meet", "region_joiner",
             "adjacent.eq(coming.index == end)", "adjacent.eq(coming.index >= end)",
             ("tile",), BLOCKS),
    Mutation("fault_of_a_tensor_forgotten", "tensor_engine",
             "with m.If(take & (read_fault == ReadFault.NONE)):", "with m.If(0):",
             ("tile",), BLOCKS),
    Mutation("tensor_overtakes_the_command_before", "tensor_unit",
             "self.commands.valid & tensor & ~self.checker_busy", "self.commands.valid & tensor",
             ("tile",), BLOCKS),
    Mutation("tensor_starts_while_the_sequencer_works", "tensor_unit",
             "checker.hold.eq(self.hold)", "checker.hold.eq(engine.busy)", ("tile",), BLOCKS),
    Mutation("regions_after_the_first_forgotten", "axi4_writer",
             "closing.eq(self.i.payload.last)", "closing.eq(1)", ("axi4_writer",)),
)


def _copy(folder: Path) -> None:
    """Put what ``verify`` needs into a folder of its own."""
    for name in COPIED:
        shutil.copytree(PROJECT / name, folder / name,
                        ignore=shutil.ignore_patterns("__pycache__"))


def _mutate(folder: Path, file: str, old: str, new: str) -> None:
    path = folder / "hdl" / f"{file}.py"
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"hdl/{file}.py must hold once: {old}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def _pnmtile(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the command line of the copy, with the simulations of this project."""
    build = Path(os.environ.get("PNMTILE_BUILD", PROJECT / "build")).resolve()
    found = subprocess.run(
        [sys.executable, "-c", "from tools.cli import main; main()", *arguments], cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "PNMTILE_BUILD": str(build)},
        capture_output=True, text=True, timeout=300, check=False)
    assert "Traceback" not in found.stderr, found.stderr
    return found


def _verify(folder: Path, tile: str, units: tuple[str, ...]) -> tuple[int, dict[str, bool]]:
    """Exit code, and by unit whether its benches passed."""
    options = [part for unit in units for part in ("--unit", unit)]
    found = _pnmtile(folder, "verify", str(PROJECT / tile), "--seed", "1", "--json", *options)
    answer = json.loads(found.stdout)
    assert answer.get("units"), found.stderr
    return found.returncode, {unit["unit"]: unit["held"] for unit in answer["units"]}


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_verify_finds_the_fault(mutation: Mutation, tmp_path: Path) -> None:
    _copy(tmp_path)
    _mutate(tmp_path, mutation.file, mutation.old, mutation.new)
    assert _verify(tmp_path, mutation.tile, mutation.units) == (
        NOT_HELD, dict.fromkeys(mutation.units, False))


def test_verify_holds_without_a_fault(tmp_path: Path) -> None:
    _copy(tmp_path)
    units = ("dot_array", "sequencer")
    assert _verify(tmp_path, SMALLEST, units) == (HELD, dict.fromkeys(units, True))


def test_a_tile_that_hangs_ends_the_run(tmp_path: Path) -> None:
    _copy(tmp_path)
    _mutate(tmp_path, "sequencer", "with m.If(all_written):", "with m.If(0):")
    for name, shape in (("w", (5, 9)), ("x", (9,))):
        np.save(tmp_path / f"{name}.npy", np.ones(shape, np.float32))
    found = _pnmtile(tmp_path, "run", str(PROJECT / SMALLEST), "gemv", "--engine", "rtl",
                     "--weights", "w.npy", "--activations", "x.npy", "--out", "y.npy",
                     "--vcd", "y.vcd", "--json")
    assert found.returncode == NOT_HELD
    assert "the tile hangs: no atom was read or written and no command ended" in found.stderr
    assert json.loads(found.stdout)["held"] is False
    # No result, but the waveform shows why.
    assert not (tmp_path / "y.npy").exists()
    assert (tmp_path / "y.vcd").read_text().startswith("$version")
    assert _verify(tmp_path, SMALLEST, ("tile",)) == (NOT_HELD, {"tile": False})
