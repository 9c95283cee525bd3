"""What the Python of a job's environment has: packages, tools, settings of the user's Jupyter."""
