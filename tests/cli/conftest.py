"""Fixtures of the command line's tests."""

from tests.fakes import run, slurm

__all__ = ["run", "slurm"]
