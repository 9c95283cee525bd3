"""Every rule of a router has a path that it answers."""

from __future__ import annotations

from tornado import web

from slurm_nb.kit.security import routes


def test_every_rule_gets_a_path() -> None:
    """Nested routers, named groups, classes, repetitions and choices are included."""
    patterns = [
        r"/api/contents(?P<path>(?:(?:/[^/]+)+|/?))", r"/api/kernels/(?P<id>\w+-\w+)/channels",
        r"/api/terminals/(\w+)", r"/files/(.*)", r".*/", r"/(robots\.txt|favicon\.ico)",
        r"/n/(\d{3})/[a-f]?x", r"/base%20/(?!no)y", "/plain",
    ]  # fmt: skip
    app = web.Application([(pattern, web.RequestHandler) for pattern in patterns[:5]])
    app.add_handlers(".*$", [(pattern, web.RequestHandler) for pattern in patterns[5:]])

    found = routes.paths(app)

    assert len(found) == len(patterns)
    assert {"/plain", "/api/terminals/x", "/files/x", "/robots.txt", "/n/111/ax"} <= set(found)
