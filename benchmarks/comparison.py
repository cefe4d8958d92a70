"""What a comparison of two engines found, and how it is shown: as text, Markdown, JSON and SVG."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field
from typing import Any
from xml.sax.saxutils import escape

QUIET = 0.05  # of the processors: what others may take before a row says so

NAMES = {"realm_ext": "realm_ext", "llama_cpp": "llama.cpp"}
OURS, PEER = NAMES


@dataclass
class Samples:
    """One engine's values for one row; or why there are none."""

    values: list[float] = field(default_factory=list)
    missing: str = ""
    note: str = ""

    @property
    def median(self) -> float:
        """Of the values."""
        return statistics.median(self.values)

    def text(self, unit: str) -> str:
        """Median and spread."""
        if not self.values:
            return self.missing or "not measured"
        low, high = min(self.values), max(self.values)
        middle = f"**{number(self.median)}** {unit}"
        return middle if len(self.values) == 1 else f"{middle} ({number(low)} to {number(high)})"


@dataclass
class Row:
    """One piece of work, done by both engines in alternation."""

    model: str
    work: str
    unit: str  # "tokens/s": more is better; "s" and "MB": less is
    engines: dict[str, Samples]
    limit: str = ""  # "read" or "multiply": what bounds this work here
    most: float = 0.0  # in `unit`, at that limit as measured beside this row
    neighbours: list[float] = field(default_factory=list)  # see neighbours.py; of each run

    @property
    def ratios(self) -> list[float]:
        """How many times better ours is, pair by pair."""
        pairs = zip(self.engines[OURS].values, self.engines[PEER].values, strict=False)
        more_is_better = self.unit == "tokens/s"
        return [ours / peer if more_is_better else peer / ours for ours, peer in pairs]

    def ratio_text(self) -> str:
        """Median and spread of the ratios."""
        ratios = sorted(self.ratios)
        if not ratios:
            return ""
        middle = f"**{statistics.median(ratios):.2f}**"
        return middle if len(ratios) == 1 else f"{middle} ({ratios[0]:.2f} to {ratios[-1]:.2f})"

    def share_text(self, engine: str) -> str:
        """An engine's median as a share of the most there could be."""
        samples = self.engines[engine]
        return f"{samples.median / self.most:.0%}" if self.most and samples.values else ""

    def most_text(self) -> str:
        """The ceiling of this row."""
        return f"{number(self.most)} ({self.limit})" if self.most else ""


@dataclass
class Comparison:
    """All rows of one run, and where it ran."""

    machine: str
    threads: int
    commit: str
    date: str
    versions: dict[str, dict[str, Any]]
    rows: list[Row] = field(default_factory=list)
    ceilings: list[dict[str, Any]] = field(default_factory=list)

    def median_ceilings(self) -> dict[str, float]:
        """Of all moments in which they were measured."""
        numbers = [k for k, v in self.ceilings[0].items() if isinstance(v, int | float)]
        return {k: statistics.median(c[k] for c in self.ceilings) for k in numbers}

    def as_json(self) -> dict[str, Any]:
        """Everything, raw."""
        return asdict(self)


def number(value: float) -> str:
    """Three digits or so."""
    for limit, digits in ((1, 3), (10, 2), (100, 1)):
        if abs(value) < limit:
            return f"{value:.{digits}f}"
    return f"{value:.0f}"


HEADINGS = ("model", "work", "realm_ext", "llama.cpp", "ratio", "ceiling", "ours", "theirs")


def _cells(row: Row) -> list[str]:
    return [
        row.model,
        row.work,
        row.engines[OURS].text(row.unit),
        row.engines[PEER].text(row.unit),
        row.ratio_text(),
        row.most_text(),
        row.share_text(OURS),
        row.share_text(PEER),
    ]


def markdown(comparison: Comparison) -> str:
    """The table, and below it what is needed to read it."""
    lines = [f"| {' | '.join(HEADINGS)} |", "|---" * len(HEADINGS) + "|"]
    lines += [f"| {' | '.join(_cells(row))} |" for row in comparison.rows]
    return "\n".join([*lines, "", *_facts(comparison)])


def text(comparison: Comparison) -> str:
    """The same for a terminal."""
    table = [list(HEADINGS), *(_cells(row) for row in comparison.rows)]
    table = [[cell.replace("**", "") for cell in cells] for cells in table]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in table
    ]
    return "\n".join([*lines, "", *_facts(comparison)])


def _facts(comparison: Comparison) -> list[str]:
    c = comparison
    lines = [f"{c.machine}, {c.threads} threads, commit {c.commit}, {c.date}."]
    if c.ceilings:
        found = c.median_ceilings()
        lines.append(
            f"Ceilings: read {found['read_bytes_per_s'] / 1e9:.1f} GB/s, "
            f"{found['int8_macs_per_s'] / 1e9:.0f} G multiply-accumulates/s of bytes, "
            f"{found['f32_macs_per_s'] / 1e9:.0f} G of floats "
            f"({c.ceilings[0]['level']}; medians of {len(c.ceilings)} moments of this run)."
        )
    disturbed = [row for row in c.rows if row.neighbours and max(row.neighbours) > QUIET]
    for row in disturbed:
        middle, most = statistics.median(row.neighbours), max(row.neighbours)
        lines.append(
            f"Not alone: {row.model}, {row.work}: other programs took {middle:.0%} of the "
            f"processors in the median run, at most {most:.0%}."
        )
    lines += [f"{v['version']}: {v['build']}." for v in c.versions.values()]
    for row in c.rows:
        for engine, samples in row.engines.items():
            if samples.note:
                lines.append(f"{row.model}, {row.work}, {NAMES[engine]}: {samples.note}.")
    return lines


# ---- a plot: for each row both engines as shares of the row's ceiling

_BAR, _GAP, _LEFT, _WIDTH = 14, 18, 250, 420
_COLOURS = {OURS: "#1f6f8b", PEER: "#c9a227"}


def svg(comparison: Comparison) -> str:
    """Bars from nothing to the ceiling, one pair for each row that has a ceiling."""
    rows = [row for row in comparison.rows if row.most]
    height = 50 + len(rows) * (2 * _BAR + _GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + 130}" '
        f'height="{height}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{_LEFT}" y="16">share of what this machine can do at most</text>',
    ]
    for i, engine in enumerate(NAMES):
        x = _LEFT + 270 + 80 * i
        parts.append(f'<rect x="{x}" y="7" width="10" height="10" fill="{_COLOURS[engine]}"/>')
        parts.append(f'<text x="{x + 14}" y="16">{NAMES[engine]}</text>')
    for percent in (0, 25, 50, 75, 100):
        x = _LEFT + _WIDTH * percent / 100
        parts.append(f'<line x1="{x}" y1="26" x2="{x}" y2="{height - 18}" stroke="#ddd"/>')
        parts.append(f'<text x="{x}" y="{height - 5}" text-anchor="middle">{percent} %</text>')
    for i, row in enumerate(rows):
        parts += _bars(row, 32 + i * (2 * _BAR + _GAP))
    return "\n".join([*parts, "</svg>", ""])


def _bars(row: Row, top: float) -> list[str]:
    label = escape(f"{row.model}, {row.work}")
    parts = [f'<text x="{_LEFT - 8}" y="{top + _BAR + 4}" text-anchor="end">{label}</text>']
    for i, (engine, samples) in enumerate(row.engines.items()):
        y = top + i * _BAR
        if not samples.values:
            said = escape(samples.missing or "not measured")
            parts.append(f'<text x="{_LEFT + 4}" y="{y + 11}" fill="#888">{said}</text>')
            continue
        width = _WIDTH * min(1.15, samples.median / row.most)
        fill = _COLOURS[engine]
        parts.append(
            f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR - 1}" fill="{fill}"/>'
        )
        value = f"{number(samples.median)} {row.unit}"
        parts.append(f'<text x="{_LEFT + width + 4:.1f}" y="{y + 11}">{value}</text>')
    return parts
