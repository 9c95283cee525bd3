"""What the job's output says."""
