"""`rnnzoo export` and `rnnzoo load-check`: a model's way to a server, and whether it arrived."""

import contextlib
import importlib

import click

from rnnzoo import _machine
from rnnzoo.cli import _common

FORMATS = ("saved_model", "litert", "onnx")


@click.command()
@click.argument("file_or_preset")
@click.argument("directory", type=click.Path(file_okay=False))
@click.option("--version", type=int, help="By default one more than the highest there.")
@click.option("--format", default="saved_model", show_default=True, help=", ".join(FORMATS) + ".")
def export(file_or_preset, directory, version, format):
    """Write a .keras file or a preset, ready to serve, to DIRECTORY/<version>.

    saved_model is for TensorFlow Serving, whose configuration is written with it; litert and onnx
    need `pip install 'rnnzoo[export]'`. What was written is compared with its source.
    """
    _machine.import_tensorflow()
    module = importlib.import_module("rnnzoo.export")
    model = _load(file_or_preset)
    with _refusals(module):
        written = module.export_model(
            model, directory, version, format=format, source=file_or_preset
        )
    click.echo(f"Written: {written}")
    difference = module.describe(written)[1]["largest_difference_from_source"]
    click.echo(f"Largest difference from its source: {difference:.3g}")
    if format == "saved_model":
        click.echo(f"To serve it: {written}/tensorflow_serving/docker_run.sh")


@click.command("load-check")
@click.argument("directory", type=click.Path(file_okay=False))
@click.option(
    "--source",
    metavar="FILE_OR_PRESET",
    help="The model to compare with; by default the one that `rnnzoo export` noted.",
)
def load_check(directory, source):
    """Load the export in DIRECTORY (its newest version, or one version's folder) and compare it.

    Signatures, types and shapes must be those of the source; outputs on whole sequences the
    source's; padded sequences must give what each gives alone, and steps from the initial state
    what whole sequences give, outputs and states. All on random input.
    """
    _machine.import_tensorflow()
    module = importlib.import_module("rnnzoo.export")
    folder, described = module.describe(directory)
    source = source or described["source"]
    if source is None:
        raise ValueError(
            "`--source` must be given: the export does not say what it was made of. "
            "Received: no --source"
        )
    model = _load(source)
    with _refusals(module):
        differences = module.load_check(folder, model)
    click.echo(f"{folder} ({described['format']}) is {source}. Largest differences:")
    for what, difference in differences.items():
        click.echo(f"  {what:<45} {difference:.3g}")


def _load(file_or_preset):
    from rnnzoo import checkpoints, presets

    is_file = _common.is_file(file_or_preset)
    return (checkpoints.load_model if is_file else presets.load)(file_or_preset)


@contextlib.contextmanager
def _refusals(module):
    """What an export refuses is a message, as every other refusal of the command line."""
    try:
        yield
    except module.ExportError as error:
        raise ValueError(str(error)) from error
