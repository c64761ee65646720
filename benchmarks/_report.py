"""A session's results: the table on the terminal and the JSON."""

import dataclasses
import json

import rich.markup
import rich.table

from benchmarks import _surroundings
from rnnzoo._files import replacing

COLOURS = {"aim": "green", "must": "yellow", "missed": "red", "failed": "red", "skipped": "dim"}


def table(title, rows, quick):
    """The rows as a `rich.table.Table`."""
    note = " (quick: smaller sizes than the targets are for)" if quick else ""
    drawn = rich.table.Table(title=f"{title}{note}")
    drawn.add_column("work")
    drawn.add_column("against")
    for name in ("ours", "peer", "ratio", "must", "aim", "verdict"):
        drawn.add_column(name, justify="right", no_wrap=True)
    above = None
    for row in rows:
        colour = COLOURS.get(row.verdict, "")
        verdict = f"[{colour}]{row.verdict}[/]" if colour else row.verdict
        what = "" if row.what == above else rich.markup.escape(row.what)
        drawn.add_row(what, rich.markup.escape(row.peer), *cells(row), verdict)
        above = row.what
    return drawn


def cells(row):
    """ours, peer, ratio, must, aim as text."""
    if row.value is None:
        return "", "", "", number(row.must), number(row.aim)
    half = (row.value["q3"] - row.value["q1"]) / 2
    unit = " s" if row.unit == "s" else ""
    ratio = f"{row.value['median']:.3g}±{half:.2g}{unit}"
    return (
        amount(row.ours, row.measured),
        amount(row.theirs, row.measured),
        ratio,
        f"{number(row.must)}{unit}" if row.must is not None else "",
        f"{number(row.aim)}{unit}" if row.aim is not None else "",
    )


def amount(value, unit):
    return "" if value is None else f"{value['median']:.3g} {unit}"


def number(value):
    return "" if value is None else f"{value:g}"


def curve_table(title, curves):
    drawn = rich.table.Table(title=title)
    for name in ("work", "against", "sizes", "ms", "added MB", "time ~", "memory ~"):
        drawn.add_column(name)
    for curve in curves:
        drawn.add_row(
            curve["what"],
            curve["axis"],
            " ".join(f"{size:,}" for size in curve["sizes"]),
            " ".join(f"{ms['median']:.3g}" for ms in curve["ms"]),
            " ".join(f"{mb:.3g}" for mb in curve["mb"]),
            exponents(curve.get("time_exponent"), curve["axis"]),
            exponents(curve.get("memory_exponent"), curve["axis"]),
        )
    return drawn


def exponents(fitted, axis):
    """The fit over all sizes, and in brackets the slope between the two largest."""
    if fitted is None or fitted["all"] is None:
        return "-"
    return f"{axis}^{fitted['all']:.2f} ({fitted['last_two']:.2f})"


def lines_of_reasons(rows, curves=()):
    for curve in curves:
        if "ended_by" in curve:
            yield f"ended: {curve['what']}, at {curve['ended_by']}"
    for row in rows:
        if row.skipped:
            yield f"skipped: {row.what}, against {row.peer}: {row.skipped}"
        if row.failed:
            yield f"failed: {row.what}, against {row.peer}: {row.failed}"


def as_dict(name, session, title):
    """What the JSON holds."""
    rows = []
    for row in session.rows:
        fields = {k: v for k, v in dataclasses.asdict(row).items() if v is not None}
        for reason in ("skipped", "failed"):
            if reason in fields:
                fields[reason] = _surroundings.without_paths(fields[reason])
        rows.append({**fields, "verdict": row.verdict})
    result = {
        "name": name,
        "title": title,
        "command": f"python -m benchmarks {name}" + (" --quick" if session.quick else ""),
        "quick": session.quick,
        "effort": dataclasses.asdict(session.effort),
        "machine": _surroundings.describe(),
        "rows": rows,
    }
    if session.curves:
        result["curves"] = session.curves
    if session.skipped:
        result["skipped"] = _surroundings.without_paths(session.skipped)
    return result


def write_json(path, result):
    with replacing(path) as part:
        part.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
