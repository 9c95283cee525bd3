# Jupyter finds this file through JUPYTER_CONFIG_PATH and reads it after the user's own
# configuration, which stays in effect except for the settings made here (jupyter_core 5,
# jupyter_config_path).

# Jupyter ignores a configuration file that fails, so it would start without our token.
try:
    from slurm_nb_kit import server

    server.configure(get_config())  # type: ignore[name-defined]  # noqa: F821  Jupyter's own
except Exception as error:
    raise SystemExit("slurm-nb: Jupyter cannot start: %s" % error) from error
