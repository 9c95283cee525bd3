"""Jupyter on a Slurm compute node, and the one ssh line that brings it to your laptop."""

__version__ = "0.1.0"
