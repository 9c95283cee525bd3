"""The part of `slurm-nb audit` that looks from within the job."""
