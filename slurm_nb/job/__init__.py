"""The job as it is asked for, rendered as bash.

resolve, script and template read files; the rest is pure: no I/O, no clock.
"""
