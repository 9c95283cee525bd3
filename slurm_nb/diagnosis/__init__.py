"""Why a job waits, and why it ended. Pure: no I/O, no clock."""
