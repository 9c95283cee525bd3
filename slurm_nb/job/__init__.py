"""What is asked for: the job, its script, and the kit that the script uses."""
