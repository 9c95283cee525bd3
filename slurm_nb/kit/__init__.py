"""Files that travel to the compute node inside the job script; they import nothing of slurm_nb."""
