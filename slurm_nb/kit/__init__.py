"""Code that runs on the compute node, as `slurm_nb_kit`. It imports no other part of slurm_nb.

It needs Python 3.8 or later and uses only the standard library, jupyter_server, tornado and
traitlets. kernel_launcher.py is the exception: a kernel's interpreter, which may be older, runs it
with pyzmq and ipykernel.
"""
