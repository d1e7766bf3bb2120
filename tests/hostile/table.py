"""The table: how many were tried, by call and by kind of thing, and how many went wrong."""

from __future__ import annotations

from collections import Counter, defaultdict

from .case import Case, Complaints

WIDE = 28  # characters of a call's name
MOST = 3  # things that a report names for one complaint


class Results:
    """What came of the cases.

    Attributes:
        tried: How many, by area, call and kind.
        wrong: How many of them went wrong, likewise.
        complaints: The cases, by what went wrong first.
    """

    def __init__(self) -> None:
        self.tried: Counter[tuple[str, str, str]] = Counter()
        self.wrong: Counter[tuple[str, str, str]] = Counter()
        self.complaints: dict[str, list[Case]] = defaultdict(list)

    def add(self, case: Case, complaints: Complaints) -> None:
        """Note what came of a case."""
        key = case.area, case.call, case.kind
        self.tried[key] += 1
        if complaints:
            self.wrong[key] += 1
            self.complaints[complaints[0]].append(case)

    def table(self) -> str:
        """One part for each area: a row for each call, a column for each kind."""
        areas = dict.fromkeys(area for area, _, _ in self.tried)
        return "\n\n".join(self._part(area) for area in areas)

    def _part(self, area: str) -> str:
        calls = dict.fromkeys(call for each, call, _ in self.tried if each == area)
        kinds = dict.fromkeys(kind for each, _, kind in self.tried if each == area)
        rows = [[area, *kinds]]
        for call in calls:
            rows.append([call[:WIDE], *(self._cell(area, call, kind) for kind in kinds)])
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if cell is row[0] else cell.rjust(width)
                for cell, width in zip(row, widths, strict=True)
            )
            for row in rows
        )

    def _cell(self, area: str, call: str, kind: str) -> str:
        key = area, call, kind
        if not self.tried[key]:
            return ""
        return (
            f"{self.wrong[key]} of {self.tried[key]}" if self.wrong[key] else str(self.tried[key])
        )

    def report(self) -> str:
        """What went wrong, each kind of complaint once, with some cases that have it."""
        lines = []
        for complaint, cases in self.complaints.items():
            lines.append(f"{complaint}")
            lines += [f"    {case}" for case in cases[:MOST]]
            if len(cases) > MOST:
                lines.append(f"    and {len(cases) - MOST} more")
        return "\n".join(lines)
