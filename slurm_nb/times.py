"""Times as Slurm writes them and as people do."""

from __future__ import annotations

import re
from datetime import datetime

from slurm_nb.errors import UserError

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400


_TIME_FORMS = "90 (minutes), 90:00, 2:00:00, 1-12, 1-12:30, 1-12:30:00 or UNLIMITED"
_TIME = re.compile(
    r"(?P<days>\d{1,12})-(?P<dh>\d{1,12})(:(?P<dm>\d{1,12})(:(?P<ds>\d{1,12}))?)?"
    r"|(?P<h>\d{1,12}):(?P<m>\d{1,12}):(?P<s>\d{1,12})"
    r"|(?P<min>\d{1,12})(:(?P<sec>\d{1,12}))?",
    re.ASCII,
)
# Slurm keeps the limit as 32-bit minutes, the highest two standing for "none" and "unlimited".
_MAX_TIME_S = (2**32 - 3) * 60


def time_limit_s(text: str, option: str = "time") -> int | None:
    """Seconds of a Slurm time limit such as `1-12:30:00`; None when it is unlimited.

    The forms are those of sbatch(1), `--time` (22.05). Zero means no limit there, and here.
    Raises `UserError`, naming the option, for anything else.
    """
    if text.upper() in {"UNLIMITED", "INFINITE"}:
        return None
    match = _TIME.fullmatch(text)
    if match is None:
        raise UserError(
            f"--{option} {text!r}: not a time limit",
            hint=f"write {_TIME_FORMS}",
            options=(option,),
        )
    part = {name: int(value) for name, value in match.groupdict(default="0").items()}
    seconds = (
        part["days"] * 86400
        + (part["dh"] + part["h"]) * 3600
        + (part["dm"] + part["m"] + part["min"]) * 60
        + (part["ds"] + part["s"] + part["sec"])
    )
    if seconds > _MAX_TIME_S:
        raise UserError(
            f"--{option} {text!r}: longer than Slurm can count",
            hint="write UNLIMITED",
            options=(option,),
        )
    return seconds or None


def when(time: str) -> str:
    """`2026-11-23 14:00` of Slurm's `2026-11-23T14:00:00`, in local time as Slurm gives it."""
    return time.replace("T", " ")[:16]


def seconds_until(time: str | None, now_s: float) -> int | None:
    """Until Slurm's `2026-11-23T14:00:00`, in this machine's time; 0 for one that is past.

    None for no time, or something else.
    """
    try:
        at = datetime.fromisoformat(time or "").timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0, round(at - now_s))


def duration(seconds: float) -> str:
    """`45 s`, `90 min`, `3 h 05 min`, `2 d 4 h`."""
    whole = int(seconds)
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < 2 * _HOUR_S:
        return f"{whole // _MINUTE_S} min"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S:02} min"
    return f"{whole // _DAY_S} d {whole % _DAY_S // _HOUR_S} h"
