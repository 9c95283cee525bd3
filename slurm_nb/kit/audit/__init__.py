"""The part of `slurm-nb audit` that runs inside the job."""
