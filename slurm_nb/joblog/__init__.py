"""Read the output of a job.

reader and tail read it; events is pure: no I/O, no clock.
"""
