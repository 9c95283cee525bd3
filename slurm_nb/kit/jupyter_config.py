# Jupyter finds this file through JUPYTER_CONFIG_PATH. It reads every jupyter_config before any
# jupyter_server_config (jupyter_core 5, JupyterApp.load_config_file), so the user's own
# jupyter_server_config overrides this file.
from slurm_nb_kit import sqlite

sqlite.configure(get_config())  # type: ignore[name-defined]  # noqa: F821  Jupyter's own

# The user's values would keep Jupyter from reading jupyter_server_config.py in this directory.
get_config().ServerApp.config_file = ""  # type: ignore[name-defined]  # noqa: F821
get_config().ServerApp.config_file_name = "jupyter_server_config"  # type: ignore[name-defined]  # noqa: F821
