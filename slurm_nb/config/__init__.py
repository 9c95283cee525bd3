"""Config files, their layers, and a site's rules.

layers reads the files; the rest is pure: no I/O, no clock.
"""
