"""Run as `python -m slurm_nb_kit.audit`, with what is asked, as JSON, on stdin."""

import json
import sys

from .audit import main

main(json.load(sys.stdin))
