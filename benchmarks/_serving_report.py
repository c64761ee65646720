"""What `benchmarks/serving.py` measured, as text, a README and figures."""

import json

from rnnzoo._files import replacing

COLOURS = {"gRPC": "#1f4e79", "REST": "#c0392b"}
HEAD = """# Serving, measured

What `python -m benchmarks serving` and its `--soak` last measured here; `benchmarks/README.md` says
how. Server (`rnnzoo serve`) and clients are Python processes that share the machine; the C++ loader
has one thread, the others as many as there are cores. A call over the wire ends when its outputs
are NumPy arrays.
"""


def line(result):
    """One result as a line of text."""
    streams = f", streams: {result['streams']}" if "streams" in result else ""
    return (
        f"{result['way']}{streams}, rows: {result['rows']}: p50 {result['p50_ms']:.3g} ms, "
        f"p99 {result['p99_ms']:.3g} ms, {result['steps_per_s']:,.0f} steps/s"
    )


def write_readme(folder):
    """README.md of a folder of results, from the JSON files that are in it."""
    text = HEAD
    for name, part in (("serving", serving_markdown), ("soak", soak_markdown)):
        file = folder / f"{name}.json"
        if file.is_file():
            result = json.loads(file.read_text(encoding="utf-8"))
            machine = result["machine"]
            versions = machine["versions"].items()
            used = ", ".join(f"{name} {number}" for name, number in versions if number)
            text += f"\n## {result['title']}\n\n`{result['command']}`, {machine['date']}, "
            text += (
                f"{machine['cpu']}, cores: {machine['cores']}; {used}.\n\n![{name}]({name}.png)\n\n"
            )
            text += part(result)
    with replacing(folder / "README.md") as part_file:
        part_file.write_text(text, encoding="utf-8")


def serving_markdown(result):
    lines = [
        "| way | streams | rows a call | p50 ms | p99 ms | steps / s |",
        "|---|---|---|---|---|---|",
    ]
    for row in result["measured"]:
        cells = (row["way"], str(row.get("streams", "-")), str(row["rows"]))
        cells += (f"{row['p50_ms']:.3g}", f"{row['p99_ms']:.3g}", f"{row['steps_per_s']:,.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    lines += [f"\nSkipped: {way}: {why}." for way, why in result["skipped"].items()]
    return "\n".join(lines) + "\n"


def soak_markdown(result):
    answered = ", ".join(f"{count:,} over {way}" for way, count in result["answered"].items())
    return (
        f"{result['seconds'] / 60:.3g} minutes, {result['streams']} streams and broken requests "
        f"between them: {answered}; {result['broken']:,} broken requests; wrong answers: "
        f"{result['wrong']}. Resident memory of the server: {result['early_mb']:.1f} MB in the "
        f"second tenth of the time, {result['late_mb']:.1f} MB in the last.\n"
    )


def draw(path, result):
    """Latency by way; latency and throughput by the number of streams."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    single = [r for r in result["measured"] if r["rows"] == 1 and r.get("streams", 1) == 1]
    for y, row in enumerate(single):
        left.plot([row["p50_ms"], row["p99_ms"]], [y, y], color="grey", lw=3, alpha=0.5)
        left.plot(row["p50_ms"], y, "o", color="black")
    left.set_yticks(range(len(single)), [row["way"] for row in single])
    left.invert_yaxis()
    left.set(xscale="log", xlabel="ms of one step: p50 to p99", title="one stream")
    for way, colour in COLOURS.items():
        rows = [r for r in result["measured"] if r["way"] == way and r["rows"] == 1]
        counts = [row["streams"] for row in rows]
        middle.plot(counts, [r["p50_ms"] for r in rows], "o-", color=colour, label=f"{way} p50")
        middle.plot(counts, [r["p99_ms"] for r in rows], "o:", color=colour, label=f"{way} p99")
        right.plot(counts, [r["steps_per_s"] for r in rows], "o-", color=colour, label=way)
    middle.set(xlabel="streams", ylabel="ms", title="latency", xscale="log", yscale="log")
    right.set(xlabel="streams", ylabel="steps / s", title="throughput", xscale="log")
    for axes in (middle, right):
        axes.legend(fontsize=7)
        axes.grid(alpha=0.3)
    figure.suptitle(result["title"] + (" (quick)" if result["quick"] else ""))
    with replacing(path) as part:
        figure.savefig(part, dpi=120)
    plt.close(figure)


def draw_soak(path, result):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
    axes.plot([t / 60 for t in result["times_s"]], result["memory_mb"], color=COLOURS["gRPC"])
    axes.set(xlabel="minutes", ylabel="MB", title=result["title"], ylim=(0, None))
    axes.grid(alpha=0.3)
    with replacing(path) as part:
        figure.savefig(part, dpi=120)
    plt.close(figure)
