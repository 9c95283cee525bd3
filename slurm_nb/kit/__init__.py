"""What runs on the compute node, as `slurm_nb_kit`; it imports nothing else of slurm_nb.

Standard library, jupyter_server, tornado and traitlets only, Python 3.8 and later. A kernel's own
interpreter, of any age, runs kernel_launcher.py, with pyzmq and ipykernel.
"""
