"""The job as it is asked for, rendered as bash."""
