"""Descriptions from files: what is read, and what is said of a bad one."""

import re
from pathlib import Path

import pytest

from spec.description import Axi4Memory, NativeMemory
from spec.formats import FORMATS, WEIGHT_FORMATS
from spec.grade import grade_names
from spec.load import DescriptionError, load_description, load_tile
from spec.tile import Tile
from tests.conftest import DESCRIPTIONS, PROJECT


_FP4 = '[compute]\nweights = "e2m1"\nactivations = "e2m1"\n'
_NVFP4 = '[scaling]\nformat = "e4m3"\nrule = "e4m3-nvfp4"\ngroup = 16\n'
_FP6 = '[compute]\nweights = "e2m3"\n'
_UINT4 = '[compute]\nweights = "uint4"\n'
_UINT8 = '[compute]\nweights = "uint8"\n'
_TWO = '[compute]\nweights = ["e4m3", "e2m1"]\nactivations = ["e4m3", "e2m1"]\n'
_NAMES = 'one of "e4m3", "e5m2", "int8", "mxint8", "e2m3", "e3m2", "e2m1", "int4", "bf16", "fp16"'
_ACTIVATIONS = _NAMES + ", or an array of two of these"
_WEIGHTS = _NAMES + ', "uint4", "uint8", or an array of two of these'


def problems_of(tmp_path: Path, text: str | bytes) -> list[str]:
    """Load a file of this text, which must be refused, and return its lines of messages."""
    path = tmp_path / "t.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(DescriptionError) as caught:
        load_description(path)
    assert len(str(caught.value).splitlines()) == len(caught.value.problems)
    return str(caught.value).replace(str(path), "t.toml").splitlines()


def test_reads_the_default_tile() -> None:
    description = load_description(PROJECT / "tiles" / "hbm3_fp8.toml")
    assert description.name == "hbm3_fp8"
    assert isinstance(description.memory, Axi4Memory)
    assert description.memory.atom_bytes == 32
    assert description.compute.k_max == 16384


def test_defaults_are_those_of_the_default_tile(tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    path.write_text('name = "hbm3_fp8"\n')
    assert load_tile(path).digest == load_tile(PROJECT / "tiles" / "hbm3_fp8.toml").digest


def test_reads_every_description(tile: Tile) -> None:
    assert all(unit is not None for unit in tile.units.values())


def test_descriptions_have_names_of_their_files() -> None:
    for path in DESCRIPTIONS:
        assert load_tile(path).name == path.stem


def test_digest_follows_values_not_their_spelling(tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    path.write_text('clock = {target_mhz = 800}\n# a comment\nname = "hbm3_fp8"\n')
    assert load_tile(path).digest == load_tile(PROJECT / "tiles" / "hbm3_fp8.toml").digest
    path.write_text('name = "hbm3_fp8"\nclock = {target_mhz = 801}\n')
    assert load_tile(path).digest != load_tile(PROJECT / "tiles" / "hbm3_fp8.toml").digest


def test_names_three_mistakes_at_once(tmp_path: Path) -> None:
    assert problems_of(tmp_path, """
name = "t"
[memory]
atom_bytes = 24
[compute]
colums = 2
[scaling]
group = 100
""") == [
        "t.toml:4: memory.atom_bytes must be one of 8, 16, 32, 64, not 24",
        "t.toml:6: compute.colums = 2 is unknown; did you mean compute.columns, "
        "an integer in [1, 8]?",
        "t.toml:8: scaling.group must be a power of two in [8, 4096], not 100",
    ]


def test_problems_carry_their_facts(tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    path.write_text('name = "t"\n[compute]\ncolums = 2\nk_max = 0\n')
    with pytest.raises(DescriptionError) as caught:
        load_description(path)
    unknown, wrong = caught.value.problems
    assert (unknown.keys, unknown.value, unknown.nearest, unknown.line) == (
        ("compute.colums",), "2", "compute.columns", 3)
    assert (wrong.keys, wrong.value, wrong.allowed, wrong.line) == (
        ("compute.k_max",), "0", "an integer in [1, 65536]", 4)


@pytest.mark.parametrize(("line", "message"), [
    ("[memory]\naddress_bits = 8", "memory.address_bits must be an integer in [16, 63], not 8"),
    ("[memory]\nburst_atoms = 12", "memory.burst_atoms must be a power of two in [1, 256], not 12"),
    ("[memory]\nburst_atoms = 512",
     "memory.burst_atoms must be a power of two in [1, 256], not 512"),
    ("[memory]\natom_bytes = 32.5", "memory.atom_bytes must be one of 8, 16, 32, 64, not 32.5"),
    ('[memory]\ninterface = "AXI"', 'memory.interface must be one of "axi4", "native", not "AXI"'),
    ("[memory]\ninterface = [1]",
     'memory.interface must be one of "axi4", "native", not [1]'),
    ('[memory]\ngrade = "hbm3_6400"',
     'memory.grade = "hbm3_6400" has no meaning with memory.interface = "axi4"; leave it out, or '
     'set memory.interface = "native"'),
    ("[memory]\nzzz = 8", "memory.zzz = 8 is unknown; [memory] has interface, atom_bytes, "
                          "address_bits, burst_atoms, outstanding_bursts, grade, refresh, "
                          "host_share, ecc, phy_cycles"),
    ("[compute]\ncolumns = true", "compute.columns must be an integer in [1, 8], not true"),
    ('[compute]\ncolumns = "4"', 'compute.columns must be an integer in [1, 8], not "4"'),
    ("[compute]\ncolumns = 4.0", "compute.columns must be an integer in [1, 8], not 4.0"),
    ("[compute]\ncolumns = [4]", "compute.columns must be an integer in [1, 8], not [4]"),
    ("[compute.columns]\na = 4", "compute.columns must be an integer in [1, 8], not a table"),
    ('[compute]\nweights = "E4M3"', f'compute.weights must be {_WEIGHTS}, not "E4M3"'),
    # What is multiplied where weights have zero points is no format in memory.
    ('[compute]\nweights = "int5"', f'compute.weights must be {_WEIGHTS}, not "int5"'),
    ('[compute]\nactivations = "fp8"', f'compute.activations must be {_ACTIVATIONS}, not "fp8"'),
    ('[compute]\nactivations = "uint4"',
     f'compute.activations must be {_ACTIVATIONS}, not "uint4"'),
    ('[compute]\nweights = ["e4m3", "e2m2"]',
     f'compute.weights must be {_WEIGHTS}, not ["e4m3", "e2m2"]'),
    ('[compute]\nweights = ["E4M3", "fp4"]',
     f'compute.weights must be {_WEIGHTS}, not ["E4M3", "fp4"]'),
    ('[compute]\nweights = ["e4m3", 4]', f'compute.weights must be {_WEIGHTS}, not ["e4m3", 4]'),
    ('[compute]\nweights = ["e5m2", "e4m3", "e2m1"]',
     f'compute.weights must be {_WEIGHTS}, not ["e5m2", "e4m3", "e2m1"]'),
    ('[compute]\nweights = ["e4m3", ["e2m1"]]',
     f"compute.weights must be {_WEIGHTS}, not an array"),
    ('[compute]\nactivations = ["int8", "uint4"]',
     f'compute.activations must be {_ACTIVATIONS}, not ["int8", "uint4"]'),
    ("[compute]\npromotion_interval = 48",
     "compute.promotion_interval must be a power of two in [8, 4096], not 48"),
    ("[scaling]\namax_floor = nan", "scaling.amax_floor must be a number in [0, 1], not nan"),
    ("[scaling]\namax_floor = -1e-9", "scaling.amax_floor must be a number in [0, 1], not -1e-09"),
    ("[clock]\ntarget_mhz = 0.0", "clock.target_mhz must be a number in (0, 5000], not 0.0"),
    ("[clock]\ntarget_mhz = inf", "clock.target_mhz must be a number in (0, 5000], not inf"),
    ("memory = 3", "memory must be a table, not 3"),
    ("[[memory]]\natom_bytes = 8", "memory must be a table, not an array"),
    ("atom_bytes = 8", "atom_bytes = 8 is unknown; did you mean memory.atom_bytes, "
                       "one of 8, 16, 32, 64?"),
    ("[memory]\nK_Max = 8", "memory.K_Max = 8 is unknown; did you mean compute.k_max, "
                            "an integer in [1, 65536]?"),
    ("[host]\nzzz = 8", "host.zzz = 8 is unknown; [host] has queue_depth"),
    ("[zzz]", "zzz = a table is unknown; a description has name, [memory], [compute], [scaling], "
              "[quantize], [reduce], [transpose], [convert], [host], [clock], [pipeline]"),
    ("[memroy]", "[memroy] is unknown; did you mean [memory]?"),
])
def test_refuses_a_value(tmp_path: Path, line: str, message: str) -> None:
    (problem,) = problems_of(tmp_path, f'name = "t"\n{line}\n')
    assert re.sub(r"^t.toml(:\d+)?: ", "", problem) == message


@pytest.mark.parametrize("name", ["", "8x", "HBM", "a-b", "a" * 41, "a b", "../a", "a\\nb"])
def test_refuses_a_name(tmp_path: Path, name: str) -> None:
    (problem,) = problems_of(tmp_path, f'name = "{name}"\n')
    assert problem.startswith("t.toml:1: name must be text that matches ^[a-z][a-z0-9_]{0,39}$, "
                              "not ")


def test_asks_for_the_name(tmp_path: Path) -> None:
    assert problems_of(tmp_path, "") == [
        "t.toml: name is missing; it must be text that matches ^[a-z][a-z0-9_]{0,39}$"]


def test_looks_into_a_misspelt_table(tmp_path: Path) -> None:
    assert problems_of(tmp_path, 'name = "t"\n[memroy]\natom_bytes = 24\nbursts = 1\n') == [
        "t.toml:2: [memroy] is unknown; did you mean [memory]?",
        "t.toml:3: memroy.atom_bytes must be one of 8, 16, 32, 64, not 24",
        "t.toml:4: memroy.bursts = 1 is unknown; did you mean memory.burst_atoms, "
        "a power of two in [1, 256]?",
    ]


@pytest.mark.parametrize(("text", "message"), [
    ("[memory]\nburst_atoms = 256", "memory.burst_atoms = 256 x 32 bytes crosses the 4096-byte "
                                    "boundary of AXI4; allowed: at most 128"),
    ("[memory]\natom_bytes = 8\n[compute]\ncolumns = 3",
     "compute.columns = 3 fp32 results of one row take 16 bytes and must fit an atom of 8; "
     "allowed: at most 2 columns"),
    ('[scaling]\nformat = "fp32"',
     "scaling.rule = 'e8m0-ceil' makes e8m0 scales, but scaling.format = 'fp32'; allowed with "
     "fp32: fp32-div"),
    ('[compute]\nactivations = "e2m1"',
     "compute.activations = 'e2m1' has 4 bits, fewer than compute.weights = 'e4m3' with 8: an atom "
     "of weights is multiplied by whole atoms of activations; allowed: e4m3, e5m2, int8, mxint8"),
    ('[compute]\nweights = "int8"\nactivations = "int4"',
     "compute.activations = 'int4' has 4 bits, fewer than compute.weights = 'int8' with 8: an atom "
     "of weights is multiplied by whole atoms of activations; allowed: e4m3, e5m2, int8, mxint8"),
    (_FP6 + 'activations = "e2m1"',
     "compute.activations = 'e2m1' has 4 bits, fewer than compute.weights = 'e2m3' with 6: an atom "
     "of weights is multiplied by whole atoms of activations; allowed: e4m3, e5m2, int8, mxint8, "
     "e2m3, e3m2"),
    (_FP6 + 'activations = "int4"\naccumulation = "fp32-tree"',
     "compute.activations = 'int4' has 4 bits, fewer than compute.weights = 'e2m3' with 6: an atom "
     "of weights is multiplied by whole atoms of activations; allowed: e4m3, e5m2, int8, mxint8, "
     "e2m3, e3m2, bf16, fp16"),
    ('[compute]\nactivations = "e3m2"',
     "compute.activations = 'e3m2' has 6 bits, fewer than compute.weights = 'e4m3' with 8: an atom "
     "of weights is multiplied by whole atoms of activations; allowed: e4m3, e5m2, int8, mxint8"),
    (_FP6 + 'activations = "fp16"',
     'compute.accumulation = "exact" of fp16 needs hundreds of bits a sum (BF16: 530 for 128 '
     "products); allowed: aligned, for example with accumulation_bits = 28, or fp32-tree"),
    ("[scaling]\ngroup = 32\n" + _FP6 + 'activations = "e3m2"\naccumulation = "fp32-tree"',
     "scaling.group = 32 is shorter than one beat of 64 weights, which accumulation = 'fp32-tree' "
     "adds at once; allowed: 64 or more, or accumulation = 'exact'"),
    ('[compute]\nweights = "mxint8"\n[scaling]\nformat = "fp32"\nrule = "fp32-div"',
     "compute.weights = 'mxint8' has E8M0 scales by its standard (OCP MX), but scaling.format = "
     "'fp32'; allowed: e8m0, or compute.weights = 'int8'"),
    ('[compute]\nactivations = "mxint8"\n[scaling]\nformat = "fp32"\nrule = "fp32-div"',
     "compute.activations = 'mxint8' has E8M0 scales by its standard (OCP MX), but scaling.format "
     "= 'fp32'; allowed: e8m0, or compute.activations = 'int8'"),
    ('[compute]\nactivations = "fp16"',
     'compute.accumulation = "exact" of fp16 needs hundreds of bits a sum (BF16: 530 for 128 '
     "products); allowed: aligned, for example with accumulation_bits = 28, or fp32-tree"),
    ('[compute]\nactivations = "bf16"\naccumulation = "fp32-tree"',
     "compute.activations = 'bf16' makes sums in the whole range of FP32, which scaling.format = "
     "'e8m0' does not cover; allowed: fp32"),
    ('[compute]\naccumulation = "aligned"',
     'compute.accumulation = "aligned" needs compute.accumulation_bits; allowed: 8 to 40, for '
     "example 14, as the tensor cores of Hopper have it"),
    ('[compute]\nactivations = "int8"\naccumulation = "aligned"\naccumulation_bits = 14',
     "compute.activations = 'int8' has no exponent to align by; allowed with accumulation = "
     '"aligned": e4m3, e5m2, e2m3, e3m2, e2m1, bf16, fp16'),
    ("[compute]\naccumulation_bits = 14",
     "compute.accumulation_bits belongs to accumulation = 'aligned', but compute.accumulation = "
     "'exact'; leave it out"),
    ('[compute]\naccumulation = "fp32-tree"\npromotion_interval = 256',
     "compute.promotion_interval = 256 must be whole beats of 32 weights within a group of 128; "
     "allowed: 32 to 128"),
    ('[compute]\naccumulation = "fp32-tree"\n[scaling]\ngroup = 16',
     "scaling.group = 16 is shorter than one beat of 32 weights, which accumulation = 'fp32-tree' "
     "adds at once; allowed: 32 or more, or accumulation = 'exact'"),
    ('[compute]\nweights = "int4"\nactivations = "e2m1"\n' + _NVFP4,
     "scaling.format = 'e4m3' is NVFP4's, but compute.weights = 'int4'; allowed: e2m1, or scales "
     "in e8m0 or fp32"),
    ('[compute]\nweights = "e2m1"\nactivations = "e4m3"\n' + _NVFP4,
     "scaling.format = 'e4m3' is NVFP4's, but compute.activations = 'e4m3'; allowed: e2m1, or "
     "scales in e8m0 or fp32"),
    (f"[memory]\natom_bytes = 8\n{_FP4}accumulation = 'fp32-tree'\n{_NVFP4}",
     "compute.accumulation = 'fp32-tree' knows no scales within a sum, which scaling.format = "
     "'e4m3' has; allowed: exact"),
    (f"[memory]\natom_bytes = 8\n{_FP4}accumulation = 'aligned'\naccumulation_bits = 20\n{_NVFP4}",
     "compute.accumulation = 'aligned' knows no scales within a sum, which scaling.format = 'e4m3' "
     "has; allowed: exact"),
    (_UINT4 + 'accumulation = "aligned"\naccumulation_bits = 14',
     "compute.weights = 'uint4' has no exponent to align by; allowed with accumulation = "
     '"aligned": e4m3, e5m2, e2m3, e3m2, e2m1, bf16, fp16'),
    (_UINT8 + 'activations = "int4"',
     "compute.activations = 'int4' has 4 bits, fewer than compute.weights = 'uint8' with 8: an "
     "atom of weights is multiplied by whole atoms of activations; allowed: e4m3, e5m2, int8, "
     "mxint8"),
    (_UINT4 + 'activations = "bf16"\n[scaling]\nformat = "fp32"\nrule = "fp32-div"',
     'compute.accumulation = "exact" of bf16 needs hundreds of bits a sum (BF16: 530 for 128 '
     "products); allowed: aligned, for example with accumulation_bits = 28, or fp32-tree"),
    (_UINT8 + 'accumulation = "fp32-tree"\n[scaling]\ngroup = 16',
     "scaling.group = 16 is shorter than one beat of 32 weights, which accumulation = 'fp32-tree' "
     "adds at once; allowed: 32 or more, or accumulation = 'exact'"),
    (_UINT4 + 'activations = "e2m1"\n' + _NVFP4,
     "scaling.format = 'e4m3' is NVFP4's, but compute.weights = 'uint4'; allowed: e2m1, or scales "
     "in e8m0 or fp32"),
    (_FP4 + _NVFP4.replace("16", "32"),
     "scaling.group = 32, but NVFP4 (scaling.format = 'e4m3') has blocks of 16; allowed: 16"),
    (_FP4 + _NVFP4.replace("e4m3-nvfp4", "fp32-div"),
     "scaling.rule = 'fp32-div' makes fp32 scales, but scaling.format = 'e4m3'; allowed with e4m3: "
     "e4m3-nvfp4"),
    (_FP4 + _NVFP4.replace('"e4m3"', '"fp32"'),
     "scaling.rule = 'e4m3-nvfp4' makes e4m3 scales, but scaling.format = 'fp32'; allowed with "
     "fp32: fp32-div"),
])
def test_names_a_conflict_between_keys(tmp_path: Path, text: str, message: str) -> None:
    (problem,) = problems_of(tmp_path, f'name = "t"\n{text}\n')
    assert re.sub(r"^t.toml:\d+: ", "", problem) == message


@pytest.mark.parametrize(("weights", "activations", "pairs"), [
    # One format on one side; the same twice; the narrow one first.
    ('["e4m3", "e2m1"]', '"e4m3"', "e4m3 x e4m3 and e2m1 x e4m3"),
    ('["e4m3", "e4m3"]', '["e4m3", "e4m3"]', "e4m3 x e4m3 and e4m3 x e4m3"),
    ('["e2m1", "e4m3"]', '["e2m1", "e4m3"]', "e2m1 x e2m1 and e4m3 x e4m3"),
    ('"e2m1"', '["e4m3", "e2m1"]', "e2m1 x e4m3 and e2m1 x e2m1"),
    # Narrow values that the weights or the activations do not have, or not exactly.
    ('["e4m3", "int4"]', '["e4m3", "int4"]', "e4m3 x e4m3 and int4 x int4"),
    ('["int8", "e2m1"]', '["int8", "e2m1"]', "int8 x int8 and e2m1 x e2m1"),
    ('["e4m3", "e2m1"]', '["int8", "e2m1"]', "e4m3 x int8 and e2m1 x e2m1"),
    ('["mxint8", "int4"]', '["mxint8", "int4"]', "mxint8 x mxint8 and int4 x int4"),
    # Two narrow formats in one pair; codes of 6 bits; zero points.
    ('["e4m3", "e2m1"]', '["e4m3", "int4"]', "e4m3 x e4m3 and e2m1 x int4"),
    ('["e4m3", "e2m3"]', '["e4m3", "e2m3"]', "e4m3 x e4m3 and e2m3 x e2m3"),
    ('["uint8", "uint4"]', '["int8", "int4"]', "uint8 x int8 and uint4 x int4"),
])
def test_names_pairs_of_formats_that_share_no_dot_array(tmp_path: Path, weights: str,
                                                        activations: str, pairs: str) -> None:
    text = f'name = "t"\n[compute]\nweights = {weights}\nactivations = {activations}\n'
    assert problems_of(tmp_path, text) == [
        f"t.toml:3: compute.weights and compute.activations have the pairs {pairs}, which do not "
        "share one dot array; allowed: two of 8 bits, and two of 4 bits whose values they have: "
        'e4m3 or e5m2 with e2m1, or int8 with int4, for example weights = ["e4m3", "e2m1"] and '
        'activations = ["e4m3", "e2m1"]']


@pytest.mark.parametrize(("text", "message"), [
    (_TWO + 'accumulation = "fp32-tree"',
     "compute.accumulation = 'fp32-tree' is of one pair of formats, but compute.weights lists two; "
     "allowed: exact"),
    (_TWO + 'accumulation = "aligned"\naccumulation_bits = 14',
     "compute.accumulation = 'aligned' is of one pair of formats, but compute.weights lists two; "
     "allowed: exact"),
    (_TWO + "[scaling]\ngroup = 16",
     "scaling.group = 16 is shorter than one atom of 32 bytes, which two formats of weights "
     "need; allowed: 32 or more"),
    (f"[memory]\natom_bytes = 64\n{_TWO}[scaling]\ngroup = 32",
     "scaling.group = 32 is shorter than one atom of 64 bytes, which two formats of weights "
     "need; allowed: 64 or more"),
    (f'[memory]\ninterface = "native"\ngrade = "ddr5_4800"\n{_TWO}[scaling]\ngroup = 32',
     "scaling.group = 32 is shorter than one atom of 64 bytes, which two formats of weights "
     "need; allowed: 64 or more"),
    (_TWO + "[scaling]\nnarrow_group = 16",
     "scaling.narrow_group = 16 is shorter than one atom of 32 bytes, which two formats of weights "
     "need; allowed: 32 or more"),
    ("[scaling]\nnarrow_group = 64",
     "scaling.narrow_group is of the second of two formats, but compute.weights = 'e4m3' is one; "
     "leave it out"),
    ('[compute]\nweights = "e2m1"\n[scaling]\nnarrow_weight_rows = 1',
     "scaling.narrow_weight_rows is of the second of two formats, but compute.weights = 'e2m1' is "
     "one; leave it out"),
    # What one of the pairs, or each of them, does not go with is named once.
    (_TWO + "promotion_interval = 64",
     "compute.promotion_interval belongs to accumulation = 'aligned' or 'fp32-tree', but "
     "compute.accumulation = 'exact'; leave it out"),
    (_TWO + '[scaling]\nformat = "fp32"',
     "scaling.rule = 'e8m0-ceil' makes e8m0 scales, but scaling.format = 'fp32'; allowed with "
     "fp32: fp32-div"),
])
def test_names_what_two_pairs_of_formats_do_not_go_with(tmp_path: Path, text: str,
                                                        message: str) -> None:
    (problem,) = problems_of(tmp_path, f'name = "t"\n{text}\n')
    assert re.sub(r"^t.toml:\d+: ", "", problem) == message


def test_names_every_conflict_of_two_pairs_of_formats(tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    path.write_text('name = "t"\n[compute]\nweights = ["bf16", "e2m1"]\n'
                    'activations = ["bf16", "e2m1"]\naccumulation = "fp32-tree"\n'
                    "[scaling]\ngroup = 8\n[convert]\n")
    with pytest.raises(DescriptionError) as caught:
        load_description(path)
    assert [problem.keys for problem in caught.value.problems] == [
        # Of both together, of the first and of the second, by their lines.
        ("compute.weights", "compute.activations"), ("compute.weights", "convert"),
        ("compute.weights", "scaling.format"), ("compute.weights", "convert"),
        ("compute.activations", "convert"), ("compute.activations", "scaling.format"),
        ("compute.activations", "convert"),
        ("compute.accumulation", "compute.weights", "compute.activations"),
        ("scaling.group", "compute.weights", "memory.atom_bytes"),
        ("scaling.group", "convert", "memory.atom_bytes"),
        ("scaling.group", "compute.accumulation", "memory.atom_bytes"),
        ("scaling.group", "compute.accumulation", "memory.atom_bytes")]


def test_two_pairs_of_formats_are_read_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    path.write_text('name = "t"\n[compute]\nweights = ["e5m2", "e2m1"]\n'
                    'activations = ["e4m3", "e2m1"]\n')
    tile = load_tile(path)
    assert tile.description.compute.pairs == (("e5m2", "e4m3"), ("e2m1", "e2m1"))
    assert (tile.weight_format.name, tile.activation_format.name) == ("e5m2", "e4m3")
    for pair, one in zip(tile.description.compute.pairs, tile.formats, strict=True):
        weights, activations = pair
        path.write_text(f'name = "t"\n[compute]\nweights = "{weights}"\n'
                        f'activations = "{activations}"\n')
        alone = load_tile(path)
        assert alone == one and alone.digest == one.digest != tile.digest
        assert alone.formats == (alone,) and alone.narrow is None


def test_weights_with_zero_points_have_formats_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    for bits in (4, 8):
        path.write_text(f'name = "t"\n[compute]\nweights = "uint{bits}"\n')
        tile = load_tile(path)
        assert tile.zero_points and tile.weight_format == WEIGHT_FORMATS[f"uint{bits}"]
        assert tile.factor_format == FORMATS[f"int{bits + 1}"]
        assert tile.dot_array.weight_format == tile.factor_format
        path.write_text(f'name = "t"\n[compute]\nweights = "int{bits}"\n')
        other = load_tile(path)
        assert not other.zero_points and other.factor_format == other.weight_format
        assert other.lanes == tile.lanes and other.digest != tile.digest


def test_nvfp4_names_all_that_does_not_go_with_it(tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    path.write_text('name = "t"\n[scaling]\nformat = "e4m3"\n')
    with pytest.raises(DescriptionError) as caught:
        load_description(path)
    assert [problem.keys for problem in caught.value.problems] == [
        ("compute.weights", "scaling.format"), ("compute.activations", "scaling.format"),
        ("scaling.group", "scaling.format"), ("scaling.rule", "scaling.format")]


def test_a_conflict_between_formats_carries_its_keys(tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    path.write_text('name = "t"\n[compute]\nactivations = "int4"\nweights = "mxint8"\n'
                    '[scaling]\nformat = "fp32"\nrule = "fp32-div"\n')
    with pytest.raises(DescriptionError) as caught:
        load_description(path)
    assert [(problem.keys, problem.line) for problem in caught.value.problems] == [
        (("compute.activations", "compute.weights"), 3),
        (("compute.weights", "scaling.format"), 4)]


@pytest.mark.parametrize("text", [
    "[scaling]\ngroup = 8",
    _FP4 + _NVFP4,
    '[compute]\nweights = "int4"\n[scaling]\ngroup = 8\nformat = "fp32"\nrule = "fp32-div"',
    '[compute]\nweights = "e2m1"\nactivations = "mxint8"',
    '[compute]\nweights = "int8"\nactivations = "e5m2"\n[scaling]\ngroup = 4096',
    '[memory]\natom_bytes = 64\n[compute]\nweights = "int4"\nactivations = "int4"\n'
    "[scaling]\ngroup = 8",
    _FP6 + 'activations = "e3m2"\n[scaling]\ngroup = 8\nweight_rows = 1',
    _FP6 + 'activations = "mxint8"',
    _FP6 + 'activations = "bf16"\naccumulation = "fp32-tree"\n[scaling]\nformat = "fp32"\n'
    'rule = "fp32-div"',
    _FP6 + 'activations = "e2m3"\naccumulation = "aligned"\naccumulation_bits = 14',
    _FP4.replace('activations = "e2m1"', 'activations = "e3m2"'),
    _UINT4 + 'activations = "e2m3"',
    _UINT4,
    _UINT4 + 'activations = "int4"\n[scaling]\ngroup = 8\nweight_rows = 1',
    _UINT8 + 'activations = "int8"\n[scaling]\nformat = "fp32"\nrule = "fp32-div"',
    _UINT8 + 'activations = "e5m2"\n[scaling]\ngroup = 4096',
    _UINT4 + 'activations = "bf16"\naccumulation = "fp32-tree"\n[scaling]\nformat = "fp32"\n'
    'rule = "fp32-div"',
    _TWO + "[scaling]\ngroup = 32\nweight_rows = 1",
    _TWO + "[scaling]\nnarrow_group = 32\nnarrow_weight_rows = 1",
    _TWO.replace("e4m3", "e5m2") + "[scaling]\ngroup = 4096",
    _TWO.replace("e4m3", "int8").replace("e2m1", "int4")
    + '[scaling]\nformat = "fp32"\nrule = "fp32-div"',
    f"[memory]\natom_bytes = 8\n{_TWO}columns = 2\n[scaling]\ngroup = 8",
])
def test_takes_formats_and_groups_that_go_together(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.toml"
    path.write_text(f'name = "t"\n{text}\n')
    assert load_tile(path).units


def test_names_conflicts_beside_other_mistakes(tmp_path: Path) -> None:
    assert problems_of(tmp_path, """
[compute]
columns = 9
[scaling]
format = "fp32"
""") == [
        "t.toml: name is missing; it must be text that matches ^[a-z][a-z0-9_]{0,39}$",
        "t.toml:3: compute.columns must be an integer in [1, 8], not 9",
        "t.toml:5: scaling.rule = 'e8m0-ceil' makes e8m0 scales, but scaling.format = 'fp32'; "
        "allowed with fp32: fp32-div",
    ]


def test_names_no_conflict_of_a_key_that_is_wrong_itself(tmp_path: Path) -> None:
    assert problems_of(tmp_path, 'name = "t"\n[memory]\natom_bytes = 24\nburst_atoms = 256\n') == [
        "t.toml:3: memory.atom_bytes must be one of 8, 16, 32, 64, not 24"]


@pytest.mark.parametrize(("content", "message"), [
    ("name = \n", "t.toml:1: this is not TOML: Invalid value (at line 1, column 8)"),
    ('name = "t"\nname = "u"\n',
     "t.toml:2: this is not TOML: Cannot overwrite a value (at line 2, column 11)"),
    (b'name = "t"\n# \xff\n', "t.toml:2: is not UTF-8 text: byte 0xff at offset 13"),
    ("a = " + "[" * 5000, "t.toml: this is not TOML: arrays or tables are nested too deeply"),
    (b"#" * (1 << 20) + b"\n", "t.toml: is larger than 1048576 bytes: this is no tile description"),
])
def test_refuses_what_is_not_toml(tmp_path: Path, content: str | bytes, message: str) -> None:
    assert problems_of(tmp_path, content) == [message]


def test_refuses_a_number_that_python_does_not_read(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, f"a = {'9' * 5000}\n")
    assert problem.startswith("t.toml: this is not TOML: Exceeds the limit")


_FORMATS = 'an array of one or more of "e4m3", "e5m2", each once'
_GROUPS = "an array of one or more of 16, 32, 64, 128, 256, each once"


@pytest.mark.parametrize(("line", "message"), [
    ('[quantize]\nformats = ["e4m3", "bf16"]',
     f'quantize.formats must be {_FORMATS}, not ["e4m3", "bf16"]'),
    ('[quantize]\nformats = ["x", 3]', f'quantize.formats must be {_FORMATS}, not ["x", 3]'),
    ('[quantize]\nformats = ["e4m3", "e4m3"]',
     f'quantize.formats must be {_FORMATS}, not ["e4m3", "e4m3"]'),
    ("[quantize]\nformats = []", f"quantize.formats must be {_FORMATS}, not []"),
    ('[quantize]\nformats = "e4m3"', f'quantize.formats must be {_FORMATS}, not "e4m3"'),
    ("[quantize]\nformats = {a = 1}", f"quantize.formats must be {_FORMATS}, not a table"),
    ('[quantize]\nformats = [["e4m3"]]', f"quantize.formats must be {_FORMATS}, not an array"),
    ("[quantize]\ngroups = [128, 100]", f"quantize.groups must be {_GROUPS}, not [128, 100]"),
    ("[quantize]\ngroups = [true]", f"quantize.groups must be {_GROUPS}, not [true]"),
    ('[quantize]\ngroups = ["128"]', f'quantize.groups must be {_GROUPS}, not ["128"]'),
    ("[quantize]\ngroups = 128", f"quantize.groups must be {_GROUPS}, not 128"),
    ("[quantize]\nrules = [" + '"e8m0", ' * 20 + "]",
     'quantize.rules must be an array of one or more of "e8m0-ceil", "e8m0-floor", "fp32-div", '
     'each once, not ["e8m0", "e8m0", "e8m0", "e8m0", "e8m0", "e8m0", "e8m0", ...'),
    ("[quantize]\nwindow = 1", "quantize.window must be one of false, true, not 1"),
    ("[quantize]\nwindow_groups = 1000",
     "quantize.window_groups must be a power of two in [32, 65536], not 1000"),
    ('[reduce]\nformats = ["fp16"]', 'reduce.formats must be an array of one or more of "bf16", '
     '"e4m3", "e5m2", "fp32", each once, not ["fp16"]'),
    ("[transpose]\nblock = 100", "transpose.block must be a power of two in [8, 256], not 100"),
    ("[convert]\nformats = []", 'convert.formats must be an array of one or more of "bf16", '
     '"e4m3", "e5m2", "fp32", each once, not []'),
    ("reduce = 3", "reduce must be a table, not 3"),
    ("[[transpose]]", "transpose must be a table, not an array"),
    ("[quantize]\nformat = 3",
     f"quantize.format = 3 is unknown; did you mean quantize.formats, {_FORMATS}?"),
    ("[transpose]\nblok = 64", "transpose.blok = 64 is unknown; did you mean transpose.block, a "
                               "power of two in [8, 256]?"),
    ("[reduce]\nzzz = [1]", "reduce.zzz = [1] is unknown; [reduce] has formats"),
    ("[quantise]", "[quantise] is unknown; did you mean [quantize]?"),
])
def test_refuses_of_the_tensor_units(tmp_path: Path, line: str, message: str) -> None:
    (problem,) = problems_of(tmp_path, f'name = "t"\n{line}\n')
    assert re.sub(r"^t.toml(:\d+)?: ", "", problem) == message


@pytest.mark.parametrize(("text", "message"), [
    ("[memory]\natom_bytes = 64\n[quantize]\ngroups = [64, 16]",
     "quantize.groups has 16, shorter than one atom of 32 BF16 elements; allowed: 32 or more"),
    ("[quantize]\nwindow = true", "quantize.window = true needs the host port of "
                                  'memory.interface = "native"; leave it out'),
    ("[transpose]\nblock = 16", "transpose.block = 16 is shorter than one atom of 32 codes; "
                                "allowed: 32 or more"),
    ('[memory]\ninterface = "native"\ngrade = "ddr5_4800"\n[transpose]\nblock = 32',
     "transpose.block = 32 is shorter than one atom of 64 codes; allowed: 64 or more"),
    ('[compute]\nactivations = "int8"\n[reduce]',
     "[reduce] works on tensors of E4M3 or E5M2, but compute.activations = 'int8'; leave it out, "
     "or use e4m3 or e5m2"),
])
def test_names_a_conflict_of_the_tensor_units(tmp_path: Path, text: str, message: str) -> None:
    (problem,) = problems_of(tmp_path, f'name = "t"\n{text}\n')
    assert re.sub(r"^t.toml:\d+: ", "", problem) == message


@pytest.mark.parametrize("section", ["quantize", "reduce", "transpose", "convert"])
@pytest.mark.parametrize("name", ["int8", "mxint8", "e3m2", "e2m1", "int4"])
def test_tensor_units_work_on_fp8_alone(tmp_path: Path, section: str, name: str) -> None:
    compute = f'name = "t"\n[compute]\nweights = "{name}"\nactivations = "{name}"\n'
    lines = {"weights": 3, "activations": 4}
    assert problems_of(tmp_path, f"{compute}[{section}]\n") == [
        f"t.toml:{line}: [{section}] works on tensors of E4M3 or E5M2, but compute.{key} = "
        f"'{name}'; leave it out, or use e4m3 or e5m2" for key, line in lines.items()]
    (tmp_path / "t.toml").write_text(compute)
    assert load_description(tmp_path / "t.toml").compute.weights == name


@pytest.mark.parametrize("section", ["quantize", "reduce", "transpose", "convert"])
@pytest.mark.parametrize("name", ["uint4", "uint8"])
def test_tensor_units_do_not_go_with_zero_points(tmp_path: Path, section: str, name: str) -> None:
    assert problems_of(tmp_path, f'name = "t"\n[compute]\nweights = "{name}"\n[{section}]\n') == [
        f"t.toml:3: [{section}] works on tensors of E4M3 or E5M2, but compute.weights = '{name}'; "
        "leave it out, or use e4m3 or e5m2"]


@pytest.mark.parametrize("section", ["quantize", "reduce", "transpose", "convert"])
def test_tensor_units_work_on_whole_atoms_of_a_group(tmp_path: Path, section: str) -> None:
    text = 'name = "t"\n[scaling]\ngroup = {}\n' + f"[{section}]\n"
    assert problems_of(tmp_path, text.format(16)) == [
        f"t.toml:3: scaling.group = 16 is shorter than one atom of 32 codes, which [{section}] "
        "cannot work on; allowed: 32 or more"]
    (tmp_path / "t.toml").write_text(text.format(32))
    assert load_description(tmp_path / "t.toml").scaling.group == 32


def test_names_every_mistake_of_the_tensor_units(tmp_path: Path) -> None:
    assert problems_of(tmp_path, """name = "t"
[memory]
atom_bytes = 64
[quantise]
formats = ["e4m3", "e4m3"]
groups = [16]
windows = true
[transpose]
block = 32
[reduce]
formats = "bf16"
""") == [
        "t.toml:4: [quantise] is unknown; did you mean [quantize]?",
        f't.toml:5: quantise.formats must be {_FORMATS}, not ["e4m3", "e4m3"]',
        "t.toml:6: quantize.groups has 16, shorter than one atom of 32 BF16 elements; allowed: 32 "
        "or more",
        "t.toml:7: quantise.windows = true is unknown; did you mean quantize.window, one of false, "
        "true?",
        "t.toml:9: transpose.block = 32 is shorter than one atom of 64 codes; allowed: 64 or more",
        't.toml:11: reduce.formats must be an array of one or more of "bf16", "e4m3", "e5m2", '
        '"fp32", each once, not "bf16"',
    ]


def test_sections_that_are_left_out_stay_absent(tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    path.write_text('name = "t"\n[reduce]\n')
    tile = load_tile(path)
    assert tile.description.reduce is not None and tile.description.quantize is None
    assert {"quantizer", "converter", "transposer"}.isdisjoint(tile.units)
    assert "reducer" in tile.units
    # An empty section has its defaults.
    path.write_text('name = "t"\n[reduce]\nformats = ["bf16", "e4m3", "fp32"]\n')
    assert load_tile(path).digest == tile.digest
    path.write_text('name = "t"\n')
    assert load_tile(path).digest != tile.digest


def test_names_the_nearest_file(tmp_path: Path) -> None:
    with pytest.raises(DescriptionError) as caught:
        load_description(PROJECT / "tiles" / "hbm3_fp.toml")
    assert str(caught.value) == (f"{PROJECT / 'tiles' / 'hbm3_fp.toml'}: there is no such file; "
                                 f"did you mean {PROJECT / 'tiles' / 'hbm3_fp8.toml'}?")
    with pytest.raises(DescriptionError, match="there is no such file$"):
        load_description(tmp_path / "none" / "t.toml")


def test_names_the_first_files_of_a_directory(tmp_path: Path) -> None:
    for name in ("j.toml", *(f"{letter}.toml" for letter in "bacdefghi"), "a.txt"):
        (tmp_path / name).write_text("")
    with pytest.raises(DescriptionError) as caught:
        load_description(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: this is a directory; name one TOML file in it; {tmp_path} has a.toml, "
        "b.toml, c.toml, d.toml, e.toml, f.toml, g.toml, h.toml")


NATIVE = 'name = "t"\n[memory]\ninterface = "native"\n'


def test_reads_a_native_tile(tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    path.write_text(NATIVE + 'grade = "hbm3_6400"\n')
    tile = load_tile(path)
    assert tile.description.memory == NativeMemory(
        interface="native", grade="hbm3_6400", refresh="per-bank", host_share=0.25, ecc="none",
        phy_cycles=0)
    assert (tile.clock_mhz, tile.atom_bytes, tile.address_bits) == (800.0, 32, 29)
    path.write_text(NATIVE + 'grade = "hbm3_6400"\n[clock]\ntarget_mhz = 800\n')
    assert load_tile(path) == tile


def test_finds_a_grade_beside_its_description(tmp_path: Path,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "there"
    (folder / "grades").mkdir(parents=True)
    text = (PROJECT / "tests" / "descriptions" / "small_grade.toml").read_text()
    (folder / "grades" / "g.toml").write_text(text)
    (folder / "t.toml").write_text(NATIVE + 'grade = "grades/g.toml"\n')
    monkeypatch.chdir(tmp_path)
    tile = load_tile("there/t.toml")
    assert tile.grade is not None and tile.grade.name == "small_grade"
    (folder / "t.toml").write_text(NATIVE + f'grade = "{folder}/grades/g.toml"\n')
    assert load_tile("there/t.toml").digest == tile.digest


@pytest.mark.parametrize(("line", "message"), [
    ("", "memory.grade is missing; it must be text such as "
         + ", ".join(f'"{name}"' for name in grade_names()) + ', "my_grade.toml"'),
    ("grade = 3", "memory.grade must be text such as "
                  + ", ".join(f'"{name}"' for name in grade_names()) + ', "my_grade.toml", not 3'),
    ('grade = "hbm3_640"', "memory.grade: hbm3_640: there is no such grade; did you mean "
                           f"hbm3_6400? There are {', '.join(grade_names())}; a file of your own "
                           "is named with its .toml"),
    ('grade = "none.toml"',
     "memory.grade: TMP/none.toml: there is no such file; did you mean t.toml?"),
    ('grade = ""', "memory.grade: TMP: this is a directory; name one TOML file in it; "
                   "TMP has t.toml"),
    ('grade = "t.toml\\u0000"', "memory.grade: t.toml\x00: cannot be read: embedded null byte"),
    ('grade = "hbm3_6400"\natom_bytes = 32',
     'memory.atom_bytes = 32 follows from the grade with memory.interface = "native"; leave it '
     "out"),
    ('grade = "hbm3_6400"\naddress_bits = 29',
     'memory.address_bits = 29 follows from the grade with memory.interface = "native"; leave it '
     "out"),
    ('grade = "hbm3_6400"\nburst_atoms = 16',
     'memory.burst_atoms = 16 has no meaning with memory.interface = "native"; leave it out, or '
     'set memory.interface = "axi4"'),
    ('grade = "hbm3_6400"\nrefresh = "none"',
     'memory.refresh must be one of "per-bank", "all-bank", not "none"'),
    ('grade = "hbm3_6400"\nhost_share = 1',
     "memory.host_share must be a number in [0.01, 0.99], not 1"),
    ('grade = "hbm3_6400"\nhost_share = nan',
     "memory.host_share must be a number in [0.01, 0.99], not nan"),
    ('grade = "hbm3_6400"\necc = true', 'memory.ecc must be one of "none", "secded", not true'),
    ('grade = "hbm3_6400"\nhost_sahre = 0.5',
     "memory.host_sahre = 0.5 is unknown; did you mean memory.host_share, "
     "a number in [0.01, 0.99]?"),
    ('grade = "ddr5_4800"\nrefresh = "per-bank"',
     'memory.refresh = "per-bank", but the grade ddr5_4800 has no per-bank refresh (no '
     'timing.nRFCpb); allowed: "all-bank"'),
    ('grade = "hbm3_6400"\n[clock]\ntarget_mhz = 500',
     "clock.target_mhz = 500, but the grade hbm3_6400 needs 800, one cycle for each atom (the data "
     "pins would idle); leave it out"),
    ('grade = "hbm3_6400"\n[clock]\ntarget_mhz = 801',
     "clock.target_mhz = 801, but the grade hbm3_6400 needs 800, one cycle for each atom (the data "
     "pins are not faster); leave it out"),
    ('grade = "ddr5_4800"\n[scaling]\ngroup = 32\n[reduce]',
     "scaling.group = 32 is shorter than one atom of 64 codes, which [reduce] cannot work on; "
     "allowed: 64 or more"),
])
def test_refuses_of_a_native_memory(tmp_path: Path, line: str, message: str) -> None:
    (problem,) = problems_of(tmp_path, f"{NATIVE}{line}\n")
    assert re.sub(r"^t.toml(:\d+)?: ", "", problem).replace(str(tmp_path), "TMP") == message


def _grade(tmp_path: Path, **values: object) -> None:
    """Write the small grade with some of its values changed."""
    text = (PROJECT / "tests" / "descriptions" / "small_grade.toml").read_text()
    for name, value in values.items():
        text, changed = re.subn(rf"^{name} = .*$", f"{name} = {value}", text, flags=re.MULTILINE)
        assert changed == 1
    (tmp_path / "g.toml").write_text(text)


def test_names_every_problem_of_a_grade(tmp_path: Path) -> None:
    _grade(tmp_path, nRC=23, rows=63, nRP=-1)
    found = problems_of(tmp_path, NATIVE + """grade = "g.toml"
[compute]
columns = 9
[scaling]
format = "fp32"
""")
    assert [problem.replace(str(tmp_path), "TMP") for problem in found] == [
        "t.toml:4: memory.grade: TMP/g.toml:15: organisation.rows must be a power of two in "
        "[2, 16777216], not 63",
        "t.toml:4: memory.grade: TMP/g.toml:29: timing.nRP must be an integer in [1, 1000000], "
        "not -1",
        "t.toml:6: compute.columns must be an integer in [1, 8], not 9",
        "t.toml:8: scaling.rule = 'e8m0-ceil' makes e8m0 scales, but scaling.format = 'fp32'; "
        "allowed with fp32: fp32-div",
    ]


def test_names_every_mistake_in_a_native_memory(tmp_path: Path) -> None:
    assert problems_of(tmp_path, NATIVE + """grade = "ddr5_4800"
refresh = "per-bank"
atom_bytes = 24
burst = 1
ecc = "x"
[clock]
target_mhz = 800
""") == [
        't.toml:5: memory.refresh = "per-bank", but the grade ddr5_4800 has no per-bank refresh '
        '(no timing.nRFCpb); allowed: "all-bank"',
        't.toml:6: memory.atom_bytes = 24 follows from the grade with memory.interface = "native"; '
        "leave it out",
        "t.toml:7: memory.burst = 1 is unknown; did you mean memory.burst_atoms, a power of two in "
        "[1, 256]?",
        't.toml:8: memory.ecc must be one of "none", "secded", not "x"',
        "t.toml:10: clock.target_mhz = 800, but the grade ddr5_4800 needs 300.481, one cycle for "
        "each atom (the data pins are not faster); leave it out",
    ]


def test_reads_on_where_the_interface_is_misspelt(tmp_path: Path) -> None:
    assert problems_of(tmp_path, """name = "t"
[memroy]
interface = "nativ"
grade = "hbm3_6400"
refresh = "x"
""") == [
        "t.toml:2: [memroy] is unknown; did you mean [memory]?",
        't.toml:3: memroy.interface must be one of "axi4", "native", not "nativ"',
        't.toml:5: memroy.refresh must be one of "per-bank", "all-bank", not "x"',
    ]


@pytest.mark.parametrize(("values", "message"), [
    ({"rows": 32}, "memory.grade: the grade small_grade holds 2^15 bytes; allowed: 2^16 to 2^63"),
    ({"bank_groups": 16, "banks_per_group": 16, "stack_ids": 8, "nREFI": 30000,
      "nRP": "7\nnCCDR = 3"},
     "memory.grade: the grade small_grade has 2048 banks; allowed: at most 1024"),
])
def test_refuses_a_grade_that_no_tile_holds(tmp_path: Path, values: dict[str, object],
                                            message: str) -> None:
    _grade(tmp_path, **values)
    (problem,) = problems_of(tmp_path, NATIVE + 'grade = "g.toml"\n')
    assert problem == f"t.toml:4: {message}"
