"""`rnnzoo data`: which data sets are here, where, and how to get the others."""

import pathlib

import click


@click.group(invoke_without_command=True)
@click.option("--data-dir", type=click.Path(file_okay=False), help="Instead of RNNZOO_DATA_DIR.")
@click.pass_context
def data(ctx, data_dir):
    """List the data sets: what is present, where, and its size."""
    if ctx.invoked_subcommand is None:
        _list(data_dir)


@data.command()
@click.argument("name")
@click.option("--data-dir", type=click.Path(file_okay=False), help="Instead of RNNZOO_DATA_DIR.")
@click.pass_context
def fetch(ctx, name, data_dir):
    """Download the data set NAME, verified; a download that broke off goes on.

    It goes to --data-dir, else to the folder that RNNZOO_DATA_DIR names, else to ~/.cache/rnnzoo,
    where the tasks find it too.
    """
    import rich.console
    import rich.progress

    from rnnzoo.tasks.originals import _data, _fetch, _sources

    source = _sources.get(name)
    folder = _data.root(data_dir or ctx.parent.params["data_dir"]) / name
    console = rich.console.Console()
    columns = (
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.DownloadColumn(),
        rich.progress.TransferSpeedColumn(),
        rich.progress.TimeRemainingColumn(),
    )
    rows = {}
    live = console.is_terminal
    with rich.progress.Progress(*columns, console=console, transient=True, disable=not live) as bar:

        def on_bytes(file, received, total):
            if file not in rows:
                rows[file] = bar.add_task(file, total=total)
            bar.update(rows[file], completed=received, total=total)

        paths = _fetch.fetch(name, folder, on_bytes)
    for path in paths:
        click.echo(f"{path}  {_bytes(path.stat().st_size)}")
    click.echo(f"Licence: {source.licence}")


def _list(data_dir):
    import rich.console
    import rich.table

    from rnnzoo.tasks.originals import _sources

    table = rich.table.Table("data set", "what", "where", "size")
    table.columns[0].no_wrap = True
    table.columns[2].overflow = "fold"  # a path is read whole, or not at all
    for source in _sources.SOURCES.values():
        where, size = _present(source, data_dir)
        table.add_row(source.name, source.summary, where.replace("[", r"\["), size)
    rich.console.Console().print(table)


def _present(source, data_dir):
    """Where a data set is and how large, as the table shows it."""
    from rnnzoo.tasks.originals import _data

    folder = (
        _data.present(source.name) if data_dir is None else pathlib.Path(data_dir) / source.name
    )
    whole = _bytes(sum(file.size for file in source.files))
    if folder is None or not folder.is_dir():
        return "not here", f"{whole} to fetch"
    paths = [_data.find(folder, file.name) for file in source.files]
    missing = [file.name for file, path in zip(source.files, paths) if path is None]
    if missing:
        return f"{folder}, without {', '.join(missing)}", "incomplete"
    return str(folder), _bytes(sum(path.stat().st_size for path in paths))


def _bytes(count):
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"
