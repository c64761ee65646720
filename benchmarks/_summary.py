"""The README.md beside the results: every JSON file there as a table."""

import json

from benchmarks import _report
from benchmarks._session import Row
from rnnzoo._files import replacing

SUMMARY = """# Results of the benchmarks

What `python -m benchmarks` last measured here; `benchmarks/README.md` says how. Ratios are
ours / peer. The JSON files have quartiles, times, settings and the machine; the figures show the
same.
"""


def write_summary(folder):
    """README.md of a folder of results, from the JSON files that are in it."""
    text = SUMMARY
    for path in sorted(folder.glob("*.json")):
        text += as_markdown(json.loads(path.read_text(encoding="utf-8")))
    with replacing(folder / "README.md") as part:
        part.write_text(text, encoding="utf-8")


def as_markdown(result):
    machine, versions = result["machine"], result["machine"]["versions"]
    used = ", ".join(f"{name} {number}" for name, number in versions.items() if number)
    measured_on = f"{machine['date']}, {machine['cpu']}, cores: {machine['cores']}; {used}"
    lines = [f"\n## {result['title']}\n", f"`{result['command']}`, {measured_on}.\n"]
    if "skipped" in result:
        lines.append(f"Skipped: {result['skipped']}.\n")
    if result["rows"]:
        lines += ["| work | against | ratio | must | aim | verdict |", "|---|---|---|---|---|---|"]
    for fields in result["rows"]:
        row = Row(**{name: value for name, value in fields.items() if name != "verdict"})
        reason = row.skipped or row.failed
        verdict = f"{row.verdict}: {reason}" if reason else row.verdict
        lines.append(line(row.what, row.peer, *_report.cells(row)[2:], verdict))
    if "curves" in result:
        lines += ["| work | against | time | added memory |", "|---|---|---|---|"]
    for curve in result.get("curves", ()):
        fits = (
            _report.exponents(curve.get(f"{kind}_exponent"), curve["axis"])
            for kind in ("time", "memory")
        )
        lines.append(line(curve["what"], curve["axis"], *fits))
    return "\n".join(lines) + "\n"


def line(*cells):
    return f"| {' | '.join(cells)} |"
