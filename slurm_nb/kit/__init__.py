"""What runs on the compute node, as `slurm_nb_kit`; it imports nothing else of slurm_nb."""
