"""Results as plots, PNG and SVG: bars of ratios, and lines over n.

The ground is transparent, text is mid grey, and the colours are of middle lightness,
so that they can be read on a light page and on a dark one. Each bar and each line
is labelled where it stands; there is no legend to look up.

matplotlib is imported here and nowhere else.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchmarks.report import number, title
from benchmarks.results import Results, Row
from benchmarks.workload import FLOOR, OURS, PACKAGES, family

TEXT = "#7a828e"
FAINT = "#7a828e40"
COLOURS = {
    OURS: "#e8590c",
    "asyncio": "#3b82f6",
    "uvloop": "#0d9ca6",
    "gevent": "#5f9e1f",
    "trio": "#a35bf0",
    "tinyio": "#c08a12",
    "curio": "#e0489a",
    "threads": "#9c7558",
    FLOOR: "#868e96",
}
STYLE = {
    "font.family": ["DejaVu Sans"],
    "font.size": 8.8,
    "text.color": TEXT,
    "axes.labelcolor": TEXT,
    "axes.edgecolor": FAINT,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "grid.color": FAINT,
    "svg.fonttype": "none",
    "svg.hashsalt": "microthreads",  # the same results make the same file
}
BAR = 0.24  # inches for each
HEAD = 0.75  # inches for a panel's title and the space below it


def save_all(results: Results, folder: Path) -> list[Path]:
    """Write all plots into `folder`; the files."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row for row in results.rows if row.samples]
    files: list[Path] = []
    with plt.rc_context(STYLE):
        for name, some in (("ratios", [row for row in rows if row.headline]), ("ratios-all", rows)):
            if some:
                files += _save(bars(some), folder / name)
        for group, some in scaling(rows).items():
            files += _save(lines(some), folder / f"scaling-{group.replace('/', '-')}")
    return files


def _save(figure: Any, stem: Path) -> list[Path]:
    files = [stem.with_name(f"{stem.name}.{ending}") for ending in ("png", "svg")]
    for file in files:
        metadata = {"Date": None} if file.suffix == ".svg" else None
        figure.savefig(file, dpi=160, bbox_inches="tight", pad_inches=0.12, metadata=metadata)
    plt.close(figure)
    return files


def order(row: Row) -> list[str]:
    """The contenders that were measured, ours first, then from the best to the floor."""
    names = list(PACKAGES)

    def place(name: str) -> tuple[int, int, str]:
        kind = family(name)
        return (kind == FLOOR, names.index(kind) if kind in names else len(names), name)

    return sorted(row.samples, key=place)


def scaling(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The groups that make a line chart: two sizes or more."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row.size is not None:
            groups.setdefault(row.group, []).append(row)
    return {
        name: sorted(some, key=lambda row: row.size or 0)
        for name, some in groups.items()
        if len({row.size for row in some}) > 1
    }


# ---- bars


def bars(rows: Sequence[Row], across: int = 3) -> Any:
    """A panel for each workload: how many times ours each contender's figure is."""
    across = min(across, len(rows))
    shelves = [rows[start : start + across] for start in range(0, len(rows), across)]
    heights = [HEAD + BAR * max(len(row.samples) for row in shelf) for shelf in shelves]
    figure, panels = plt.subplots(
        len(shelves),
        across,
        figsize=(5.2 * across, sum(heights)),
        gridspec_kw={"height_ratios": heights},
        squeeze=False,
    )
    for shelf, height, line in zip(shelves, heights, panels, strict=True):
        for panel in line:
            panel.axis("off")
        for row, panel in zip(shelf, line, strict=False):
            _bars_of(row, panel, (height - HEAD) / BAR)
    figure.tight_layout(h_pad=1.2, w_pad=2.5)
    return figure


def _bars_of(row: Row, panel: Any, places: float) -> None:
    names = order(row)
    medians = [figure.median for name in names if (figure := row.figure(name))]
    longest = room(medians)
    head = textwrap.fill(title(row, row.keys[0]), 62)
    panel.set_title(head, loc="left", fontweight="bold", x=-0.28, pad=6)
    panel.set_xlim(0, longest * 1.5)
    panel.set_ylim(places - 0.4, -0.6)
    for place, (name, value) in enumerate(zip(names, medians, strict=True)):
        colour, ours = COLOURS.get(family(name), TEXT), family(name) == OURS
        style = {"height": 0.7, "color": colour, "alpha": 1 if ours else 0.75, "linewidth": 0}
        if value > longest:  # cut, and seen to be
            panel.barh(place, longest * 0.92, **style)
            panel.barh(place, longest * 0.06, left=longest * 0.94, **style)
        else:
            panel.barh(place, value, **style)
        end = min(value, longest) + longest * 0.02
        words = {"va": "center", "color": colour, "fontweight": "bold" if ours else "normal"}
        panel.text(-longest * 0.02, place, name, ha="right", **words)
        panel.text(end, place, _label(row, name, value), ha="left", **words)


def room(values: Sequence[float]) -> float:
    """The longest bar: the largest value, unless it is many times what comes next."""
    kept = sorted(values)
    while len(kept) > 2 and kept[-1] > 4 * kept[-2]:
        kept.pop()
    return max(kept[-1] * (1 if len(kept) == len(values) else 1.3), 1e-12)


def _label(row: Row, name: str, value: float) -> str:
    """What stands at the end of a bar: the figure, and how many times ours it is."""
    advantage = row.advantage(name)
    ratio = "" if name == OURS or advantage is None else f"   {number(advantage)}×"
    return f"{number(value)}{ratio}"


# ---- lines


def lines(rows: Sequence[Row]) -> Any:
    """A line for each contender, over the sizes; both axes logarithmic where that helps."""
    figure, panel = plt.subplots(figsize=(8.2, 4.6))
    names = {name: None for row in rows for name in order(row)}
    ends: list[tuple[float, str, float]] = []  # where each line ends, and whose it is
    for name in names:
        points = [(row.size, found.median) for row in rows if (found := row.figure(name))]
        _line(panel, name, points)
        ends.append((max(points[-1][1], 1e-9), name, points[-1][0]))
    _axes(panel, rows)
    _end_labels(panel, ends)
    return figure


def _line(panel: Any, name: str, points: list[tuple[Any, float]]) -> None:
    colour = COLOURS.get(family(name), TEXT)
    variant, ours = " " in name, family(name) == OURS
    panel.plot(
        [size for size, _ in points],
        [value for _, value in points],
        color=colour,
        linewidth=2.4 if ours else 1.5,
        linestyle="--" if variant else ":" if name == FLOOR else "-",
        marker="o",
        markersize=4.5 if ours else 3.5,
        zorder=3 if ours else 2,
    )


def _axes(panel: Any, rows: Sequence[Row]) -> None:
    sizes = sorted({row.size for row in rows if row.size is not None})
    panel.set_yscale("log")
    panel.set_xscale(
        "log" if sizes[0] > 0 else "symlog", **({} if sizes[0] > 0 else {"linthresh": 1})
    )
    panel.set_xticks(sizes, [f"{size:,}" for size in sizes])
    panel.xaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0), numticks=30))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    panel.yaxis.set_minor_locator(NullLocator())
    panel.grid(axis="y", linewidth=0.6)
    panel.tick_params(length=0)
    panel.set_xlabel(rows[0].axis)
    common = f"{_common([row.title for row in rows])}, {rows[0].unit}"
    panel.set_title(common, loc="left", fontsize=11, fontweight="bold", pad=10)


def _common(titles: Sequence[str]) -> str:
    """The words that all titles share, without the number that tells them apart."""
    words = [re.sub(r",(?!\d)", " ,", title).split() for title in titles]
    same = [all(word == first for word in rest) for first, *rest in zip(*words, strict=False)]
    kept = [word if keep else "n" for word, keep in zip(words[0], same, strict=False)]
    return " ".join(kept).replace(" ,", ",")


def _end_labels(panel: Any, ends: list[tuple[float, str, float]]) -> None:
    """Each line's name at its end, moved apart where lines end close together."""
    panel.figure.canvas.draw()
    to_pixels, inches = panel.transData, panel.figure.dpi
    sorted_ends = sorted(ends)
    wanted = [to_pixels.transform((size, value))[1] for value, _, size in sorted_ends]
    right = max(size for _, _, size in ends)
    for (value, name, size), at, got in zip(
        sorted_ends, wanted, apart(wanted, inches * 0.165), strict=True
    ):
        # A line that ends early is named at its own end.
        across = to_pixels.transform((size if size < right else right, value))[0]
        place = to_pixels.inverted().transform(
            (across + inches * 0.1, got if size == right else at)
        )
        panel.text(
            *place,
            f"{name}  {number(value)}",
            color=COLOURS.get(family(name), TEXT),
            fontsize=8.5,
            fontweight="bold" if family(name) == OURS else "normal",
            va="center",
            clip_on=False,
        )


def apart(positions: Sequence[float], gap: float) -> list[float]:
    """Ascending positions, moved as little as is simple so that each two are `gap` apart."""
    placed = list(positions)
    for _ in range(200):
        close = False
        for index, (low, high) in enumerate(pairwise(placed)):
            if high - low < gap - 1e-6:
                middle, close = (low + high) / 2, True
                placed[index], placed[index + 1] = middle - gap / 2, middle + gap / 2
        if not close:
            break
    return placed
