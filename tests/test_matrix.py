"""The table that `make test` ends with."""

from __future__ import annotations

from tests.matrix import Outcome, Run, read_report, table

REPORT = """<?xml version="1.0" encoding="utf-8"?>
<testsuites name="pytest tests"><testsuite name="pytest" errors="1" failures="1" tests="4">
<properties><property name="slurm" value="24.11.5" /><property name="python" value="3.13.5" />
</properties>
<testcase classname="tests.e2e.test_routes"
 name="test_each_route_leads_to_a_kernel_on_the_node[port]" time="8.1" />
<testcase classname="tests.e2e.test_routes"
 name="test_each_route_leads_to_a_kernel_on_the_node[socket]" time="7.9">
 <failure message="assert 1 == 2">assert 1 == 2</failure></testcase>
<testcase classname="tests.e2e.test_main_job" name="test_other"><error message="x" /></testcase>
<testcase classname="tests.test_spec" name="test_another"><skipped message="x" /></testcase>
</testsuite></testsuites>
"""


def test_a_report_tells_versions_routes_and_totals() -> None:
    """A route that was not tried is no success; an error in a fixture is a failure."""
    assert read_report(REPORT) == Outcome(
        "24.11.5", "3.13.5", ("ok", "-", "FAILED"), "1 ok, 2 FAILED, 1 skipped"
    )


def test_a_run_without_a_report_is_seen_in_the_table() -> None:
    """A cluster that did not come up has a row of its own, with nothing in it that looks well."""
    run = Run("sid", accounting=True, tests=())

    head, row = table([run], [read_report("")])

    assert head.split() == [
        "Debian", "Slurm", "Python", "accounting", "jump", "direct", "socket", "tests",
    ]  # fmt: skip
    assert row.split() == ["sid", "?", "?", "slurmdbd", "-", "-", "-", "nothing", "ran"]
