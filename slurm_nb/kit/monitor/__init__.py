"""Watches a session from within the Jupyter server, and tells its user."""
