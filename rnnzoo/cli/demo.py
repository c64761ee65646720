"""`rnnzoo demo`: what `make run` shows."""

import click

from rnnzoo import _machine


@click.command()
@click.option(
    "--out", required=True, type=click.Path(file_okay=False), help="Folder of the comparison."
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--quick", is_flag=True, help="A few seconds, too short to learn anything.")
def demo(out, seed, quick):
    """Train an HDetachLSTM and an LSTM on the copying task side by side, and export the first."""
    _machine.import_tensorflow()
    from rnnzoo.cli import _copy_comparison

    _copy_comparison.run(out, seed=seed, quick=quick)
