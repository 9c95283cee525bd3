"""Monitors a session from inside the Jupyter server, and warns its user."""
