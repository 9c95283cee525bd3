"""From a session that runs to the browser on the laptop.

tunnel and connection are pure: no I/O, no clock.
"""
