"""The login page, which says what to enter and where to find it.

Jupyter's own page explains how to find the token of a server that you started yourself. This page
has the same form, and Jupyter's handler checks the answer.
"""

from __future__ import annotations

import html
import os
from typing import Any

_TEMPLATE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>slurm-nb session @JOB_ID@</title>
<style>
body { font: 15px/1.5 sans-serif; color: #222; background: #f5f5f5; margin: 0; }
main { max-width: 34em; margin: 10vh auto; padding: 1.5em 2em; background: #fff;
  border: 1px solid #ccc; border-radius: 4px; }
h1 { font-size: 1.3em; margin: 0 0 .8em; }
label { display: block; font-weight: bold; }
input { font: inherit; padding: .3em; width: 18em; max-width: 100%; box-sizing: border-box; }
button { font: inherit; padding: .3em 1em; }
code { font-family: monospace; background: #eee; padding: 0 .3em; }
.error { color: #b00020; font-weight: bold; }
</style>
</head>
<body>
<main>
<h1>slurm-nb session @JOB_ID@</h1>
{% if message %}<p class="error" role="alert">@WRONG@</p>{% endif %}
<form action="{{ base_url }}login?next={{ next }}" method="post">
{{ xsrf_form_html() | safe }}
<label for="password_input">@LABEL@</label>
<input type="password" name="password" id="password_input" autofocus
 autocomplete="current-password">
<button type="submit" id="login_submit">Log in</button>
</form>
@TEXT@
</main>
</body>
</html>
"""
_WITH_PASSWORD = {
    "@LABEL@": "Password",
    "@WRONG@": "Wrong password.",
    "@TEXT@": """\
<p>Enter the password that you set with <code>slurm-nb password</code> on the login node.
It is not your cluster password.</p>
<p>If you have forgotten it, run <code>slurm-nb password</code> to set a new one.
Sessions that are already running keep the old password.</p>""",
}
_WITH_TOKEN = {
    "@LABEL@": "Token",
    "@WRONG@": "Wrong token.",
    "@TEXT@": """\
<p>Open the complete URL that slurm-nb printed: it contains the token. To print it again, run
<code>slurm-nb url @JOB_ID@</code> on the login node.</p>""",
}


def configure(c: Any, run_dir: str, job_id: str, *, password: bool) -> None:
    """Replace Jupyter's login page, in the configuration `c`."""
    text = _TEMPLATE
    for name, value in (_WITH_PASSWORD if password else _WITH_TOKEN).items():
        text = text.replace(name, value)
    folder = os.path.join(run_dir, "page", "templates")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    with open(os.path.join(folder, "login.html"), "w", encoding="utf-8") as file:
        file.write(text.replace("@JOB_ID@", html.escape(job_id)))
    c.ServerApp.extra_template_paths = [folder]
