"""The figure of a training run: loss and monitored metric against epochs."""

import pathlib

from rnnzoo._figures import new_figure
from rnnzoo._files import replacing


def plot_curves(record, path):
    """Draw what `metrics.json` holds of a run: curves, baseline, published and test score.

    Args:
        record: The dict of a run's ``metrics.json``.
        path: Where to write the PNG; it appears whole or not at all.

    Returns:
        The path.
    """
    metric = record["monitor"].removeprefix("val_")
    names = list(dict.fromkeys(["loss", metric]))
    figure = new_figure(4.5 * len(names), 3.4)
    epochs = range(1, record["epochs"] + 1)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names):
        axes.plot(epochs, record["curve"][name], ".-", label="training")
        axes.plot(epochs, record["curve"][f"val_{name}"], ".-", label="validation")
        if name in record["baseline"]:
            axes.axhline(record["baseline"][name], color="grey", ls=":", label="baseline")
        if name == metric and record.get("reference") is not None:
            axes.axhline(record["reference"], color="black", ls="--", lw=1, label="reference")
        if name in record.get("test", {}):
            best = record["best"]["epoch"]
            axes.plot(best, record["test"][name], "k*", label="test, best epoch")
        axes.set_xlabel("epoch")
        axes.set_ylabel(name.replace("_", " "))
        axes.legend(fontsize="small")
    layers = record["settings"].get("layers", [record["settings"]])
    named = ", ".join(dict.fromkeys(f"{one['layer']} {one['units']}" for one in layers))
    figure.suptitle(f"{record['task']['name']}: {named}")
    path = pathlib.Path(path)
    with replacing(path) as part:
        figure.savefig(part, dpi=120, format="png")
    return path
