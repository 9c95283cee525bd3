"""Packages, tools and Jupyter settings of the Python in a job's environment."""
