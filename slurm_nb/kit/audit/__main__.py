"""Runs the audit as `python -m slurm_nb_kit.audit`, with its input as JSON on stdin."""

import json
import sys

from .audit import main

main(json.load(sys.stdin))
