"""The commands of `slurm-nb --help`, one module each."""
