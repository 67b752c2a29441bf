"""The ``pnmtile`` command: one verb is one module of this folder with one function of its name.

A verb's module imports at its top only what is quick; amaranth, numpy and cocotb are imported
where they are used, so that the quick verbs stay quick. A verb returns when what it checked held,
raises ``NotHeld`` when not and ``UserError`` for bad input.
"""

import importlib
import importlib.metadata
import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

if TYPE_CHECKING:
    import typer

__all__ = ["HELD", "INTERRUPTED", "NOT_HELD", "VERBS", "WRONG_INPUT", "main", "run_command"]

# In the order of --help.
VERBS = ("check", "explain", "generate", "verify", "run", "accuracy", "synth", "power", "fpga",
         "trial", "doctor", "schema")

# Exit codes; typer itself ends wrong usage with 2.
HELD, NOT_HELD, WRONG_INPUT, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143


def main() -> NoReturn:
    """Run the command line of this process and exit."""
    signal.signal(signal.SIGTERM, _terminate)
    # A closed stream (>&-) is None; what is written there goes nowhere.
    sys.stdout = sys.stdout or open(os.devnull, "w")
    sys.stderr = sys.stderr or open(os.devnull, "w")
    code = run_command(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError:
        # Already reported; keep the interpreter from trying again at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def run_command(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; messages go to stderr."""
    as_json = "--json" in arguments
    # The tools of this environment are found without activating it.
    tools, path = os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)
    if tools not in path.split(os.pathsep):
        os.environ["PATH"] = tools + os.pathsep + path
    try:
        from spec.load import DescriptionError
        from tools.console import NotHeld, UserError
    except KeyboardInterrupt:
        return INTERRUPTED
    try:
        _application(arguments)(args=list(arguments), prog_name="pnmtile")
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else HELD if error.code is None else 1
        if code == INTERRUPTED:
            print("interrupted", file=sys.stderr)
        return code
    except NotHeld:
        return NOT_HELD
    except DescriptionError as error:
        problems = [{"file": str(error.path), "line": problem.line, "keys": problem.keys,
                     "value": problem.value, "allowed": problem.allowed,
                     "nearest": problem.nearest, "message": problem.message}
                    for problem in error.problems]
        return _wrong_input(str(error), problems, as_json)
    except UserError as error:
        return _wrong_input(f"pnmtile: {error}", [{"message": str(error)}], as_json)
    except OSError as error:
        # Files that a verb did not look after itself: still no traceback.
        text = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return _wrong_input(f"pnmtile: {text}", [{"message": text}], as_json)
    except MemoryError:
        text = "this needs more memory than the machine has; split the job, or free some"
        return _wrong_input(f"pnmtile: {text}", [{"message": text}], as_json)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return HELD


def _wrong_input(text: str, problems: list[dict[str, Any]], as_json: bool) -> int:
    from tools.console import emit, say

    say(text)
    if as_json:
        emit({"held": None, "problems": problems})
    return WRONG_INPUT


def _application(arguments: Sequence[str]) -> "typer.Typer":
    """The typer application, with the verb that is asked for, or all of them for help."""
    import typer

    app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
                      context_settings={"help_option_names": ["-h", "--help"]})

    def show_version(wanted: bool) -> None:
        if wanted:
            print(f"pnmtile {importlib.metadata.version('pnmtile')}")
            raise typer.Exit(HELD)

    @app.callback()
    def pnmtile(version: Annotated[bool, typer.Option(
            "--version", is_eager=True, callback=show_version,
            help="Print the version and exit.")] = False) -> None:
        """From one description of a processing-near-memory tile: RTL, a bit-exact reference,
        testbenches, constraints and measured numbers.

        Exit codes: 0 held, 1 did not hold, 2 bad input, 130 interrupted.
        Text for people goes to stderr, the answer to --json to stdout.
        """

    asked = [verb for verb in VERBS if verb in arguments[:1]]
    for verb in asked or VERBS:
        if importlib.util.find_spec(f"tools.{verb}"):
            function: Callable[..., None] = getattr(
                importlib.import_module(f"tools.{verb}"), verb)
            app.command(verb)(function)
    return app


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    """End by an exception, so that children are ended and temporary files removed."""
    raise SystemExit(TERMINATED)


if __name__ == "__main__":
    main()
