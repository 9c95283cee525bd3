# Found through JUPYTER_CONFIG_PATH. Jupyter reads every jupyter_config before any
# jupyter_server_config (jupyter_core 5, JupyterApp.load_config_file), so what the user's own
# jupyter_server_config says wins over what stands here.
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import slurm_nb_sqlite

slurm_nb_sqlite.configure(get_config())  # type: ignore[name-defined]  # noqa: F821  Jupyter's own
