"""Why a job is pending, and why it ended. Pure: no I/O, no clock."""
