"""Makes the HTTP requests of PLAN, in turn; prints `[{"status", "headers", "body"}]`.

PLAN: {"address", "port", "requests": [{"method", "path", "headers", "body", "cookies"}]}. With
"cookies", those that earlier answers set are sent. Host is localhost:PORT unless given. A port
that is closed gives status 0.
"""

# ruff: noqa: T201  printing is its answer

import http.client
import json
import os
import ssl
from http.cookies import SimpleCookie

plan = json.loads(os.environ["PLAN"])
jar: dict[str, str] = {}
answers = []
link: http.client.HTTPConnection
for each in plan["requests"]:
    if plan.get("tls"):
        link = http.client.HTTPSConnection(
            plan["address"],
            plan["port"],
            timeout=10,
            context=ssl._create_unverified_context(),  # noqa: S323, SLF001  an attacker's
        )
    else:
        link = http.client.HTTPConnection(plan["address"], plan["port"], timeout=10)
    headers = {"Host": f"localhost:{plan['port']}", **each.get("headers", {})}
    if each.get("cookies") and jar:
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in jar.items())
    body = each.get("body", "").encode()
    if body or each.get("method") == "POST":
        headers["Content-Length"] = str(len(body))
    try:
        link.putrequest(
            each.get("method", "GET"), each["path"], skip_host=True, skip_accept_encoding=True
        )
        for name, value in headers.items():
            link.putheader(name, value)
        link.endheaders(body)
        answer = link.getresponse()
        text = b"" if answer.status == 101 else answer.read(20000)
        for name, value in answer.getheaders():
            if name.lower() == "set-cookie":
                jar |= {key: morsel.OutputString().partition(";")[0].partition("=")[2]
                        for key, morsel in SimpleCookie(value).items()}  # fmt: skip
        found = {"status": answer.status, "headers": dict(answer.getheaders())}
        answers.append({**found, "body": text.decode(errors="replace")})
    except (OSError, http.client.HTTPException) as error:
        answers.append({"status": 0, "headers": {}, "body": str(error)})
    finally:
        link.close()
print(json.dumps(answers))
