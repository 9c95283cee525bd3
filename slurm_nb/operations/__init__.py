"""The operations behind the commands and the Python API."""
