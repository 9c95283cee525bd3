"""The score table: each attack on each target, open or closed."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.attacks.target import Target

OPEN, CLOSED, NONE, UNTRIED = "open", "closed", "-", "?"


@dataclass
class Row:
    """One attack."""

    words: str
    """The attacker's goal: the test's docstring up to its first colon."""
    results: dict[str, dict[str, str]] = field(default_factory=dict)
    """Target: variant of the attack: open or closed."""

    def cell(self, kind: str) -> str:
        """Return `closed`, `open`, or `open 2/5` if some of the variants succeeded."""
        results = list(self.results.get(kind, {}).values())
        if not results:
            return NONE
        if len(set(results)) == 1:
            return results[0]
        worst = OPEN if OPEN in results else UNTRIED
        return f"{worst} {results.count(worst)}/{len(results)}"


@dataclass
class ScoreTable:
    """The result of every attack of this run, in the order of the run."""

    rows: dict[str, Row] = field(default_factory=dict)

    def row(self, name: str, words: str) -> Row:
        return self.rows.setdefault(name, Row(words))

    def lines(self) -> list[str]:
        """`attack | plain | slurm-nb`."""
        width = max(len(row.words) for row in self.rows.values())
        lines = [f"{'attack':{width}} | plain    | slurm-nb"]
        lines.append("-" * len(lines[0]))
        lines += [
            f"{row.words:{width}} | {row.cell('plain'):8} | {row.cell('slurm-nb')}"
            for row in self.rows.values()
        ]
        return lines


@dataclass(frozen=True)
class Trial:
    """One attack on one target."""

    target: Target
    row: Row
    variant: str

    def note(self, result: str) -> None:
        self.row.results.setdefault(self.target.kind, {})[self.variant] = result

    def verdict(self, got_in: bool, evidence: object = "", *, on_plain: bool = True) -> None:  # noqa: FBT001  the one thing that is said
        """Note the result, and fail unless it is the required one.

        got_in: whether the attacker reached their goal. on_plain: whether they must reach it on
        plain Jupyter; False where that is safe too.
        """
        self.note(OPEN if got_in else CLOSED)
        wanted = on_plain if self.target.kind == "plain" else False
        assert got_in == wanted, f"{self.target.kind}: {str(evidence)[:3000]}"
