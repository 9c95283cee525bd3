"""Times as Slurm and people write them."""

from __future__ import annotations

import re
from datetime import datetime

from slurm_nb.errors import UserError

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400
# Up to these numbers, `12:00` and `8` were probably meant as hours.
_HOURS_MEANT, _MINUTES_MEANT = 24, 9


_TIME_FORMS = "90 (minutes), 90:00, 2:00:00, 1-12, 1-12:30, 1-12:30:00 or UNLIMITED"
_TIME = re.compile(
    r"(?P<days>\d{1,12})-(?P<dh>\d{1,12})(:(?P<dm>\d{1,12})(:(?P<ds>\d{1,12}))?)?"
    r"|(?P<h>\d{1,12}):(?P<m>\d{1,12}):(?P<s>\d{1,12})"
    r"|(?P<min>\d{1,12})(:(?P<sec>\d{1,12}))?",
    re.ASCII,
)
# Slurm stores the limit as 32-bit minutes; the two highest values mean "none" and "unlimited".
_MAX_TIME_S = (2**32 - 3) * 60


def time_limit_s(text: str, option: str = "time") -> int | None:
    """Return the seconds of a Slurm time limit such as `1-12:30:00`; None if it is unlimited.

    The formats are those of sbatch(1), `--time` (22.05). Zero means no limit. Raises `UserError`,
    naming the option, for anything else.
    """
    if text.upper() in {"UNLIMITED", "INFINITE"}:
        return None
    match = _TIME.fullmatch(text)
    if match is None:
        raise UserError(
            f"--{option} {text!r}: is not a time limit",
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
            f"--{option} {text!r}: exceeds Slurm's maximum",
            hint="write UNLIMITED",
            options=(option,),
        )
    return seconds or None


def likely_mistake(text: str) -> str:
    """Return a note if a time limit is probably shorter than the user meant; else nothing.

    Slurm reads `2:00` as two minutes and `8` as eight minutes.
    """
    match = re.fullmatch(r"0*(\d{1,2})(:\d\d)?", text, re.ASCII)
    if match is None or int(match[1]) == 0:
        return ""
    number = int(match[1])
    if number > (_HOURS_MEANT if match[2] else _MINUTES_MEANT):
        return ""
    hours = f"{number}{match[2] or ':00'}:00"
    return f"--time {text} is {duration(time_limit_s(text) or 0)}; for {number} h write {hours}"


def when(time: str) -> str:
    """Return `2026-11-23 14:00` for Slurm's `2026-11-23T14:00:00`, in local time."""
    return time.replace("T", " ")[:16]


def seconds_until(time: str | None, now_s: float) -> int | None:
    """Return the seconds until Slurm's `2026-11-23T14:00:00`, in local time; 0 if it is past.

    None for no time, or something else.
    """
    since_s = seconds_since(time, now_s)
    return None if since_s is None else max(0, round(-since_s))


def seconds_since(time: str | None, now_s: float) -> float | None:
    """Since Slurm's `2026-11-23T14:00:00`; less than 0 for one to come, None as above."""
    try:
        return now_s - datetime.fromisoformat(time or "").timestamp()
    except (ValueError, OverflowError):
        return None


def duration(seconds: float) -> str:
    """Return `45 s`, `90 min`, `3 h 05 min`, `2 d 4 h`."""
    whole = int(seconds)
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < 2 * _HOUR_S:
        return f"{whole // _MINUTE_S} min"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S:02} min"
    return f"{whole // _DAY_S} d {whole % _DAY_S // _HOUR_S} h"
