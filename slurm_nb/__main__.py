"""The entry point: loads the program, and reports errors of loading it."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run slurm-nb and exit: 0, or one of `errors.EXIT_CODES` after one line on stderr."""
    if sys.stdout is None:
        if sys.stderr is not None:
            sys.stderr.write("slurm-nb: stdout is closed, so slurm-nb cannot print the result\n")
        sys.exit(1)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  as long as the program
    try:
        from slurm_nb.cli.main import run  # noqa: PLC0415  no traceback for Ctrl-C during the import
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted; nothing was submitted.\n")
        sys.exit(130)
    except Exception as error:  # noqa: BLE001  a module of the user may raise anything
        sys.stderr.write(f"slurm-nb cannot start: {type(error).__name__}: {error}\n")
        if os.environ.get("PYTHONPATH"):
            sys.stderr.write(
                "  a module on PYTHONPATH may shadow a standard one; try: env -u PYTHONPATH"
                " slurm-nb ...\n"
            )
        sys.exit(70)
    sys.exit(run())


if __name__ == "__main__":
    main()
