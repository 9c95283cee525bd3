"""The requested job: its script, and the kit that the script uses.

kit, resolve, script and template read and write files; the rest is pure: no I/O, no clock.
"""
