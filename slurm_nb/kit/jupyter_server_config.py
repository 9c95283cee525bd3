# Found through JUPYTER_CONFIG_PATH, so Jupyter reads this after the user's own
# configuration, which stays in force but for what is set here (jupyter_core 5,
# jupyter_config_path).

# Jupyter goes on without a configuration file that fails, and so without our token.
try:
    from slurm_nb_kit import server

    server.configure(get_config())  # type: ignore[name-defined]  # noqa: F821  Jupyter's own
except Exception as error:
    raise SystemExit("slurm-nb: Jupyter is not started: %s" % error) from error
