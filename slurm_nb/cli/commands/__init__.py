"""The commands of `slurm-nb --help`, a module each."""
