"""How the figures of benchmarks have moved: `python -m benchmarks.history` draws those that have more than one date.

One picture a benchmark and device, one panel for each group of its figures. What a benchmark measures is drawn over its
first value; whole numbers are sizes, and left out; estimates with intervals, "0.216 [0.204, 0.227]", are drawn as they
are. Dates may come from different machines, which stand below: compare ratios there, not seconds.
"""

import argparse
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks.measure import RESULTS

_ESTIMATE = re.compile(r"(-?[\d.]+) \[(-?[\d.]+), (-?[\d.]+)\]")


class Value(NamedTuple):
    """A figure; ends of an interval equal to it where it has none."""

    value: float
    low: float
    high: float
    is_estimate: bool


def dated(folder: Path = RESULTS) -> dict[str, list[dict[str, Any]]]:
    """Reports of each benchmark and device, in the order of their dates; those with one date alone are left out."""
    reports: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in sorted(folder.glob("*.json")):
        report = json.loads(path.read_text())
        reports[path.stem.removeprefix(f"{report['date']}-")].append(report)
    return {name: found for name, found in reports.items() if len(found) > 1}


def series(reports: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, Value]]]:
    """Figures by group and name, and of each its values by date; those with one date alone are left out."""
    found: dict[str, dict[str, dict[str, Value]]] = defaultdict(lambda: defaultdict(dict))
    for report in reports:
        for (group, *rest), value in _values(report["figures"]):
            # A flat benchmark has a single group: itself.
            name = ", ".join(rest) if rest else group
            found[group if rest else report["benchmark"]][name][report["date"]] = value
    moving = {group: {name: of for name, of in names.items() if len(of) > 1} for group, names in found.items()}
    return {group: names for group, names in moving.items() if names}


def _values(figures: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Value]]:
    if isinstance(figures, Mapping):
        for name, inner in figures.items():
            # What a claim is of, not that its figures are those seen.
            yield from _values(inner, path if name in ("claims", "seen") else (*path, name))
    elif isinstance(figures, float) and figures > 0:
        yield path, Value(figures, figures, figures, False)
    elif isinstance(figures, str) and (estimate := _ESTIMATE.fullmatch(figures)):
        yield path, Value(*map(float, estimate.groups()), True)


def picture(name: str, reports: Sequence[Mapping[str, Any]]) -> Figure | None:
    """The figures of one benchmark over its dates; None where no figure has two."""
    groups = series(reports)
    if not groups:
        return None
    heights = [0.4 + 0.2 * len(names) for names in groups.values()]
    figure, axes = plt.subplots(
        len(groups), figsize=(10, sum(heights) + 1.5), height_ratios=heights, squeeze=False, layout="constrained"
    )
    colors = {of["date"]: plt.get_cmap("viridis")(0.9 * k / (len(reports) - 1)) for k, of in enumerate(reports)}
    for panel, (group, names) in zip(axes[:, 0], groups.items(), strict=True):
        _draw(panel, names, colors)
        panel.set_title(group, loc="left", fontsize=9)
    machines = [
        f"{of['date']}: {of['commit']}, {of['machine']['processor']}, jax {of['machine']['jax']}" for of in reports
    ]
    dots = [Line2D([], [], color=color, marker="o", linestyle="") for color in colors.values()]
    figure.legend(dots, machines, loc="outside lower center", fontsize=7, frameon=False)
    figure.suptitle(name, fontsize=11)
    return figure


def _draw(panel: Axes, names: Mapping[str, Mapping[str, Value]], colors: Mapping[str, Any]) -> None:
    """A row for each figure, the later dates below the earlier ones."""
    estimates = all(value.is_estimate for values in names.values() for value in values.values())
    step = 0.4 / max(1, len(colors) - 1)
    for row, values in enumerate(names.values()):
        first = 1.0 if estimates else next(iter(values.values())).value
        for place, (date, color) in enumerate(colors.items()):
            if date in values:
                value, low, high, _ = values[date]
                spread = [[(value - low) / first], [(high - value) / first]]
                height = row - 0.2 + step * place
                panel.errorbar(value / first, height, xerr=spread, marker="o", markersize=3, linewidth=1, color=color)
    panel.set_yticks(range(len(names)), list(names), fontsize=7)
    panel.set_ylim(len(names) - 0.4, -0.6)
    panel.axvline(0.0 if estimates else 1.0, color="0.8", linewidth=0.8, zorder=0)
    panel.set_xlabel("estimate and 95% interval" if estimates else "over the first", fontsize=7)
    panel.tick_params(axis="x", labelsize=7)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.history", description=__doc__)
    parser.add_argument("--output", type=Path, default=RESULTS.parent / "history", help="folder for the pictures")
    folder = parser.parse_args().output
    reports = dated()
    if not reports:
        print("no benchmark has more than one date")
    for name, of in reports.items():
        if (figure := picture(name, of)) is None:
            print(f"{name}: no figure was taken on two dates")
            continue
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(folder / f"{name}.png", dpi=150)
        print(folder / f"{name}.png")


if __name__ == "__main__":
    main()
