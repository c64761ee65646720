"""A result as a figure."""

from rnnzoo._files import replacing

OURS, MUST, AIM = "#1f4e79", "#c0392b", "#2e8b57"


def draw(path, result):
    """Write a PNG of a result's ratios or curves; nothing where there is none of either."""
    rows = [row for row in result["rows"] if "value" in row]
    if not rows and not result.get("curves"):
        return False
    import matplotlib

    matplotlib.use("Agg")
    figure = curves_figure(result["curves"]) if result.get("curves") else ratios_figure(rows)
    note = " (quick: smaller sizes)" if result["quick"] else ""
    figure.suptitle(result["title"] + note)
    with replacing(path) as part:
        figure.savefig(part, dpi=120, bbox_inches="tight")
    return True


def ratios_figure(rows):
    """A line a row: the ratio with its quartiles, and where it must and should be."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.42 * len(rows)), layout="constrained")
    for y, row in enumerate(rows):
        value = row["value"]
        axes.plot([value["q1"], value["q3"]], [y, y], color=OURS, lw=5, alpha=0.35)
        axes.plot(value["median"], y, "o", color=OURS, label="measured" if not y else None)
        for name, colour in (("must", MUST), ("aim", AIM)):
            if name in row:
                label = name if not axes.get_legend_handles_labels()[1].count(name) else None
                axes.plot(row[name], y, "|", color=colour, ms=16, mew=2.5, label=label)
    axes.axvline(1.0, color="grey", lw=0.8, ls=":")
    axes.set_xscale("log")
    plain_ticks(axes.xaxis)
    labels = [label_of(row) for row in rows]
    axes.set_yticks(range(len(rows)), labels, fontsize=7)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("ours / peer (left of 1: ours is faster or smaller)")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def plain_ticks(axis):
    """0.2, 0.5, 1, 2 ... instead of powers of ten."""
    from matplotlib import ticker

    axis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(ticker.NullFormatter())


def label_of(row):
    if row["unit"] == "s":
        return f"{row['what']}\nin seconds, no ratio"
    return f"{row['what']}\nagainst {row['peer']}"


def curves_figure(curves):
    """Log-log: time above, added peak memory below, a column for each axis."""
    import matplotlib.pyplot as plt

    names = {"steps": "T", "batch": "B", "units": "H", "k": "k"}
    axes_names = list(dict.fromkeys(curve["axis"] for curve in curves))
    figure, grid = plt.subplots(
        2,
        len(axes_names),
        figsize=(1 + 3.6 * len(axes_names), 7),
        squeeze=False,
        layout="constrained",
    )
    for curve in (c for c in curves if c["sizes"]):
        column = axes_names.index(curve["axis"])
        times = [ms["median"] for ms in curve["ms"]]
        for axes, values, kind in zip(grid[:, column], (times, curve["mb"]), ("time", "memory")):
            slope = curve[f"{kind}_exponent"]["all"]
            fitted = "" if slope is None else f" ~ {names[curve['axis']]}^{slope:.2f}"
            axes.loglog(curve["sizes"], values, "o-", label=curve["what"] + fitted)
    for column, axis in enumerate(axes_names):
        for axes, label in zip(grid[:, column], ("ms", "added peak MB")):
            axes.set(xlabel=names[axis], ylabel=label)
            axes.legend(fontsize=6)
            plain_ticks(axes.xaxis)
            plain_ticks(axes.yaxis)
            axes.grid(alpha=0.3)
    return figure
