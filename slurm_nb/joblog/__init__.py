"""What the job's output says.

reader and tail read it; events is pure: no I/O, no clock.
"""
