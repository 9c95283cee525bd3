"""The entry point: loads the program, and answers for what goes wrong before it is loaded."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run slurm-nb and exit: 0, or one of `errors.EXIT_CODES` after one line on stderr."""
    if sys.stdout is None:
        if sys.stderr is not None:
            sys.stderr.write(
                "slurm-nb: stdout is closed, so there is nowhere to print the answer\n"
            )
        sys.exit(1)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  as long as the program
    try:
        from slurm_nb.cli.main import run  # noqa: PLC0415  Ctrl-C while it loads is no traceback
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted; nothing was submitted.\n")
        sys.exit(130)
    except Exception as error:  # noqa: BLE001  whatever a module of the user's raises
        sys.stderr.write(f"slurm-nb: can't be loaded: {type(error).__name__}: {error}\n")
        if os.environ.get("PYTHONPATH"):
            sys.stderr.write(
                "  is a module on PYTHONPATH named like one of Python's? try: env -u PYTHONPATH"
                " slurm-nb ...\n"
            )
        sys.exit(70)
    sys.exit(run())


if __name__ == "__main__":
    main()
