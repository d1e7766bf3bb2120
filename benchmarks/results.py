"""What a run has found: for each workload a `Row` of samples, and what follows from them.

Every single sample is kept, and written to JSON; medians, spreads and ratios are
worked out from them when they are shown, so that a file of results can be shown
again in any form. Read next: table.py, plots.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.workload import FLOOR, OURS, Workload, family

FORMAT = 1
FIELDS = ("name", "title", "unit", "group", "better", "size", "axis", "headline")
Sample = dict[str, float]


class FormatError(ValueError):
    """A file does not hold results of this format."""


@dataclass(frozen=True)
class Figure:
    """The median of some samples, and how far they lie apart."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Figure:
        values = sorted(values)
        return cls(median(values), values[0], values[-1], len(values))

    @property
    def spread(self) -> float:
        """Half of what lies between the lowest and the highest, as a part of the median."""
        return (self.high - self.low) / 2 / abs(self.median) if self.median else 0.0


@dataclass
class Row:
    """One workload: the samples of each contender, or the reason why there are none."""

    name: str
    title: str
    unit: str
    group: str
    better: str = "smaller"
    size: int | None = None
    axis: str = ""
    headline: bool = False
    keys: list[str] = field(default_factory=lambda: ["value"])
    notes: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)  # why there is no figure
    samples: dict[str, list[Sample]] = field(default_factory=dict)

    @classmethod
    def of(cls, workload: Workload, reasons: dict[str, str]) -> Row:
        """An empty row: `reasons` are why some contenders will not be measured."""
        fields = {name: getattr(workload, name) for name in FIELDS}
        notes = {name: each.note for name, each in workload.contenders.items() if each.note}
        return cls(**fields, keys=list(workload.keys), notes=notes, reasons=reasons)

    def figure(self, contender: str, key: str | None = None) -> Figure | None:
        """What was measured of a contender, if anything."""
        samples = self.samples.get(contender)
        return Figure.of(each[key or self.keys[0]] for each in samples) if samples else None

    def peers(self) -> list[str]:
        """The contenders that were measured, but for ourselves and the floor."""
        return [name for name in self.samples if family(name) not in (OURS, FLOOR)]

    def best_peer(self, key: str | None = None) -> str | None:
        """The peer with the best median."""
        medians = {
            name: figure.median for name in self.peers() if (figure := self.figure(name, key))
        }
        best = min if self.better == "smaller" else max
        return best(medians, key=medians.__getitem__, default=None)

    def advantage(self, contender: str, key: str | None = None) -> float | None:
        """How many times better than `contender` we are; below 1, it is better than we."""
        ours, theirs = self.figure(OURS, key), self.figure(contender, key)
        if ours is None or theirs is None or ours.median <= 0 or theirs.median <= 0:
            return None
        ratio = theirs.median / ours.median
        return ratio if self.better == "smaller" else 1 / ratio

    def over_floor(self, key: str | None = None) -> float | None:
        """How many times the floor we are (or the floor us, where larger is better)."""
        advantage = self.advantage(FLOOR, key)
        return None if advantage is None else 1 / advantage


@dataclass
class Results:
    """A whole run: its rows, and what is to be known of the machine and the command."""

    about: dict[str, Any]
    rows: list[Row] = field(default_factory=list)

    def save(self, path: Path) -> None:
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=1, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read what `save` wrote; FormatError if it is something else."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data["format"] != FORMAT:
                raise FormatError(f"{path} has format {data['format']}, not {FORMAT}")
            return cls(data["about"], [Row(**row) for row in data["rows"]])
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
            raise FormatError(f"{path} does not hold results of a run: {error!r}") from error
