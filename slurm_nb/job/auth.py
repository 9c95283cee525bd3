"""How the browser logs in to Jupyter."""

from __future__ import annotations

from typing import Literal, get_args

Auth = Literal["token", "password"]
AUTHS: tuple[Auth, ...] = get_args(Auth)
