"""python -m benchmarks NAME|all [--quick] [--out FOLDER]; serving also [--soak SECONDS]"""

import importlib
import pathlib
import time

import click
import rich.console
import rich.markup

from benchmarks import _figure, _report, _summary, _surroundings
from benchmarks._session import Row, Session

NAMES = (
    "lstm",
    "lru",
    "tbptt",
    "truncated",
    "constraint",
    "exported",
    "startup",
    "pipelines",
    "floors",
    "scaling",
    "gpu",
)
APART = "serving"  # has results of another kind, and a folder of its own; not one of "all"
LOG_WIDTH = 140  # of a table that goes to a file


def measure(name, quick, folder, console):
    """Measure a module, show it, write NAME.json and NAME.png; True if nothing failed."""
    module = importlib.import_module(f"benchmarks.{name}")
    begin, load = time.monotonic(), _surroundings.load()
    with console.status(f"{name} ...") as status:

        def tell(message):
            if isinstance(message, str):
                status.update(f"{name}: {rich.markup.escape(message)}")
            elif isinstance(message, Row) and not console.is_terminal:
                value = message.value["median"] if message.value else float("nan")
                console.print(
                    f"{name}: {message.what}, {message.peer}: {value:.3g}", soft_wrap=True
                )

        session = Session(quick, gpu=getattr(module, "GPU", False), tell=tell)
        try:
            module.measure(session)
        finally:
            session.end()
    show(console, module.TITLE, session)
    result = _report.as_dict(name, session, module.TITLE)
    result["load_before"] = load
    result["minutes"] = round((time.monotonic() - begin) / 60, 2)
    _report.write_json(folder / f"{name}.json", result)
    _summary.write_summary(folder)
    drawn = _figure.draw(folder / f"{name}.png", result)
    written = f"{name}.json" + (f" and {name}.png" if drawn else "")
    console.print(f"{folder / written}, {result['minutes']} minutes", soft_wrap=True)
    ended = any("ended_by" in curve for curve in session.curves)
    return not ended and not any(row.failed for row in session.rows)


def show(console, title, session):
    if session.skipped:
        console.print(f"{title}: skipped: {session.skipped}")
    if session.rows:
        console.print(_report.table(title, session.rows, session.quick))
    if session.curves:
        console.print(_report.curve_table(title, session.curves))
    for line in _report.lines_of_reasons(session.rows, session.curves):
        console.print(line, markup=False)


@click.command()
@click.argument("name")
@click.option("--quick", is_flag=True, help="Smaller sizes and fewer rounds; about 3 minutes.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=pathlib.Path),
    help="Folder of the results: by default results/benchmarks, of serving results/serving; "
    "--quick writes to its subfolder quick.",
)
@click.option("--soak", type=float, help="serving: load a server for so many seconds instead.")
def main(name, quick, out, soak):
    """Measure NAME (or all) against its peers: a table here, JSON and a figure in OUT."""
    if name not in (*NAMES, APART, "all"):
        raise click.UsageError(
            f"NAME must be one of {', '.join((*NAMES, APART))}, or all. Received: NAME={name!r}"
        )
    if soak is not None and (name != APART or soak <= 0):
        raise click.UsageError(f"--soak must be above 0, with serving. Received: --soak {soak:g}")
    if name == APART:
        from benchmarks import serving

        raise SystemExit(0 if serving.main(quick, soak, out, click.echo) else 1)
    console = rich.console.Console()
    if not console.is_terminal:
        console.width = LOG_WIDTH
    out = out or pathlib.Path("results/benchmarks")
    folder = out / "quick" if quick else out
    whole = [measure(one, quick, folder, console) for one in (NAMES if name == "all" else [name])]
    if not all(whole):
        raise SystemExit(1)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
