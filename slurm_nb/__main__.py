"""The entry point: loads the program, and reports errors of loading it."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, NoReturn

# Commands that say on stderr what they did.
_WITHOUT_ANSWER = (["cancel"],)


def main() -> None:
    """Run slurm-nb and exit: 0, or one of `errors.EXIT_CODES` after one line on stderr."""
    if sys.stdout is None:
        if sys.argv[1:2] not in _WITHOUT_ANSWER:
            if sys.stderr is not None:
                sys.stderr.write(
                    "slurm-nb: stdout is closed, so slurm-nb cannot print the result\n"
                )
            _end(1)
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  as long as the program
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  as long as the program
    elif sys.__stderr__ is sys.stderr:  # not one of a program that calls this
        sys.stderr = _lossy()
    try:
        from slurm_nb.cli.main import run  # noqa: PLC0415  no traceback for Ctrl-C during the import
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted; nothing was submitted.\n")
        _end(130)
    except Exception as error:  # noqa: BLE001  a module of the user may raise anything
        sys.stderr.write(f"slurm-nb cannot start: {type(error).__name__}: {error}\n")
        if os.environ.get("PYTHONPATH"):
            sys.stderr.write(
                "  a module on PYTHONPATH may shadow a standard one; try: env -u PYTHONPATH"
                " slurm-nb ...\n"
            )
        _end(70)
    _end(_flushed(run()))


def _end(code: int) -> NoReturn:
    """End the program; with PYTHONINSPECT, Python would show a traceback and a prompt instead."""
    if sys.flags.inspect:
        if sys.stderr is not None:
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


class _Lossy(io.FileIO):
    """Standard error that drops text it cannot write, so that the command can still answer."""

    def write(self, data: Any) -> int:  # noqa: ANN401  any buffer
        try:
            return super().write(data) or 0
        except OSError:
            return len(data)


def _lossy() -> io.TextIOWrapper:
    raw = _Lossy(2, "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), errors="backslashreplace", line_buffering=True)


def _flushed(code: int) -> int:
    """Return the exit code, or 1 if writing to stdout fails: Python would end with 120."""
    try:
        sys.stdout.flush()
    except OSError as error:
        if code == 0:
            sys.stderr.write(f"slurm-nb: cannot write the answer: {error.strerror}\n")
            code = 1
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return code


if __name__ == "__main__":
    main()
