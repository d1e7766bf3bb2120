"""What the benchmark makes of its figures: ratios, tables, the README's part, plots.

All on made-up results, so that none of the peers is needed. How they are measured is
in test_benchmarks.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from helpers import ROOT

sys.path.insert(0, str(ROOT))

from benchmarks import cli, markdown, report
from benchmarks.results import Figure, Results, Row


def samples(*values: float) -> list[dict[str, float]]:
    return [{"value": value} for value in values]


@pytest.fixture
def results() -> Results:
    """Made-up results: several sizes, variants, percentiles, and contenders that lack."""
    rows = [
        Row(
            f"switch/{size}", f"bare yield, {size:,} tasks", "ns", "switch",
            size=size, axis="tasks", headline=size == 100,
            reasons={"curio": "not installed: curio"},
            samples={
                "microthreads": samples(100, 110, 90),
                "asyncio": samples(1000, 990, 1010),
                "uvloop": samples(400, 400, 400),
                "microthreads await": samples(200),
                "floor": samples(20, 20, 20),
            },
        )
        for size in (2, 100)
    ]  # fmt: skip
    rows[0].samples.pop("uvloop")  # has a figure for one size only
    late = Row("late", "how late", "µs", "late", keys=["p50", "p99"])
    late.samples = {"microthreads": [{"p50": 1, "p99": 8}], "trio": [{"p50": 2, "p99": 4}]}
    rate = Row("rate", "bytes a second", "MiB/s", "rate", better="larger")
    rate.samples = {"microthreads": samples(300), "asyncio": samples(100), "trio": samples(150)}
    rows += [late, rate, Row("none", "nobody", "ns", "none", reasons={"microthreads": "broken"})]
    about = {"command": "python3 -m benchmarks --json x", "date": "2026-01-01 10:00 +0000",
             "processor": "Abacus", "cores": 2, "system": "Linux", "python": "CPython 3.13",
             "packages": {"uvloop": "1.0"}, "commit": "abc"}  # fmt: skip
    return Results(about, rows)


# ---- figures


def test_a_figure_is_the_median_with_its_spread() -> None:
    figure = Figure.of([100, 110, 90])
    assert (figure.median, figure.low, figure.high, figure.count) == (100, 90, 110, 3)
    assert figure.spread == pytest.approx(0.1)


def test_ratios_are_to_the_best_peer_and_to_the_floor(results: Results) -> None:
    small, hundred, late, rate, none = results.rows
    assert (small.best_peer(), small.advantage("asyncio")) == ("asyncio", 10)
    assert (hundred.best_peer(), hundred.advantage("uvloop")) == ("uvloop", 4)
    assert hundred.over_floor() == pytest.approx(5)
    assert late.best_peer("p99") == "trio"
    assert [late.advantage("trio", key) for key in late.keys] == [2, 0.5]
    assert (rate.best_peer(), rate.advantage("trio")) == ("trio", 2)  # larger is better
    assert (none.best_peer(), none.advantage("trio"), none.over_floor()) == (None, None, None)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.01234, "0.0123"),
        (6.4, "6.40"),
        (94.05, "94.0"),
        (966, "966"),
        (5992.4, "5,990"),
        (0, "0"),
    ],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert report.number(value) == text


# ---- showing


def test_results_come_back_from_json_as_they_were(results: Results, tmp_path: Path) -> None:
    results.save(tmp_path / "r.json")
    assert Results.load(tmp_path / "r.json") == results


def test_the_table_has_a_line_for_each_percentile_and_variant(results: Results) -> None:
    head, *lines = markdown.grid(results.rows[1:3])
    assert head == [
        "",
        "microthreads",
        "asyncio",
        "uvloop",
        "trio",
        "floor",
        "best peer ÷ ours",
        "ours ÷ floor",
    ]
    assert lines == [
        ["bare yield, 100 tasks, ns", "100 ±10%", "1,000 ±1%", "400 ±0%", "-", "20.0 ±0%",
         "uvloop 4.00×", "5.00×"],
        ["… await", "200", "-", "-", "-", "-", "", ""],
        ["how late, p50, µs", "1.00", "-", "-", "2.00", "-", "trio 2.00×", "-"],
        ["how late, p99, µs", "8.00", "-", "-", "4.00", "-", "trio 0.500×", "-"],
    ]  # fmt: skip


def test_the_report_says_what_is_missing_and_where_it_was_taken(results: Results) -> None:
    text = markdown.whole(results)
    assert "`python3 -m benchmarks --json x`" in text
    assert "Abacus, 2 cores" in text
    assert "- curio: not installed: curio (switch/2, switch/100)" in text
    assert "| nobody, ns | - |" in text


def test_the_readme_is_rewritten_between_its_marks(results: Results, tmp_path: Path) -> None:
    readme, source = tmp_path / "README.md", tmp_path / "r.json"
    readme.write_text("before\n<!-- figures -->\nold\n<!-- /figures -->\nafter\n")
    results.save(source)
    for _ in range(2):  # and again
        assert cli.main(["--from", str(source), "--readme", str(readme)]) == 0
    text = readme.read_text()
    assert text.startswith("before\n<!-- figures -->\n|")
    assert text.endswith("<!-- /figures -->\nafter\n")
    assert "| bare yield, 100 tasks, ns | 100 | 1,000 | 400 | 20.0 | uvloop 4.00× | 5.00× |" in text
    assert "old" not in text
    assert "2 tasks" not in text


def test_a_readme_without_marks_is_left_alone(results: Results, tmp_path: Path) -> None:
    (tmp_path / "r.md").write_text("words")
    with pytest.raises(ValueError, match="has no <!-- figures -->"):
        markdown.rewrite(tmp_path / "r.md", results)
    assert (tmp_path / "r.md").read_text() == "words"


def test_the_readme_has_the_marks() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert 0 < text.index(markdown.BEGIN) < text.index(markdown.END)


def test_plots_are_drawn_as_png_and_svg(results: Results, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    results.save(tmp_path / "r.json")
    assert cli.main(["--from", str(tmp_path / "r.json"), "--plots", str(tmp_path / "plots")]) == 0
    stems = ("ratios", "ratios-all", "scaling-switch")
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert names == {f"{stem}.{ending}" for stem in stems for ending in ("png", "svg")}
    drawn = (tmp_path / "plots" / "scaling-switch.svg").read_text()
    assert all(name in drawn for name in ("microthreads await", "uvloop", "tasks", "bare yield"))
    assert "asyncio" in (tmp_path / "plots" / "ratios.svg").read_text()


def test_labels_are_moved_apart() -> None:
    plots = pytest.importorskip("benchmarks.plots", exc_type=ImportError)
    placed = plots.apart([0, 1, 2, 50], 10)
    assert all(high - low >= 9.99 for low, high in zip(placed, placed[1:], strict=False))
    assert placed[3] == 50


def test_one_bar_far_beyond_the_others_is_cut() -> None:
    plots = pytest.importorskip("benchmarks.plots", exc_type=ImportError)
    assert plots.room([1, 5, 10]) == 10
    assert plots.room([1, 5, 10, 400]) == 13
    assert plots.room([1, 400]) == 400
