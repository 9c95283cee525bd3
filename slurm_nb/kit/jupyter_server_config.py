# Found through JUPYTER_CONFIG_PATH, so Jupyter reads this after the user's own
# configuration, which stays in force but for what is set here (jupyter_core 5,
# jupyter_config_path).
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

# Jupyter goes on without a configuration file that fails, and so without our token.
try:
    import slurm_nb_kit

    slurm_nb_kit.configure(get_config())  # type: ignore[name-defined]  # noqa: F821  Jupyter's own
except Exception as error:
    raise SystemExit("slurm-nb: Jupyter is not started: %s" % error) from error
