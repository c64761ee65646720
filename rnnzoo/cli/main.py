"""The `rnnzoo` command: list, train, evaluate, export, and show what the zoo does.

Nothing heavy is imported before a command needs it, so that ``rnnzoo --help`` is immediate.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow; a value given stands

import click

from rnnzoo import __version__, _machine
from rnnzoo.cli import _common, data, demo, export, serve, train

EXPECTED = (ValueError, TypeError, OSError, ArithmeticError, ImportError)


class _Failure(click.ClickException):
    exit_code = 2


class _Commands(click.Group):
    """Shows what the library refuses as one line, and a traceback only with --debug."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except EXPECTED as error:
            if ctx.params.get("debug"):
                raise
            raise _Failure(" ".join(str(error).split()) or type(error).__name__) from error
        except KeyboardInterrupt:
            click.echo("\nInterrupted.", err=True)
            ctx.exit(130)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rnnzoo")
@click.option("--debug", is_flag=True, help="Show the whole traceback of an error.")
def main(debug):
    """A zoo of recurrent models for Keras: train, score and export them."""


@main.command()
def tasks():
    """List the tasks and their options."""
    from rnnzoo import tasks as zoo

    described = [zoo.describe(name) for name in zoo.names()]
    _common.print_table("task", [(d.name, d.summary, _options(d.options)) for d in described])


for _command in (
    data.data,
    train.train,
    train.reproduce,
    demo.demo,
    export.export,
    export.load_check,
    serve.serve,
):
    main.add_command(_command)


@main.command()
def layers():
    """List the recurrent layers and their options."""
    from rnnzoo.zoo import LAYERS

    _common.print_table(
        "layer", [(e.name, e.summary, _options(e.options)) for e in LAYERS.values()]
    )


@main.command()
def presets():
    """List the trained models that come with the package."""
    from rnnzoo import presets as zoo

    rows = [
        (p.name, p.description, f"{p.task}: {p.metric} {p.score:.6g}, {p.parameters:,} parameters")
        for p in zoo.list_presets()
    ]
    _common.print_table("preset", rows, last="score")


@main.command()
def recipes():
    """List how presets are trained, with what it cost and reached."""
    from rnnzoo import presets as zoo

    rows = [(recipe.name, recipe.description, recipe.result) for recipe in zoo.recipes()]
    _common.print_table("recipe", rows, last="cost and score")


@main.command()
@click.argument("file_or_preset")
@click.option("--task", help="By default the one that the model was trained on.")
@click.option("--set", "task_set", multiple=True, metavar="KEY=VALUE", help="A task option.")
@click.option("--split", default="test", show_default=True, help="test, validation or train.")
@click.option("--limit", type=int, help="Measure on so many sequences only.")
def evaluate(file_or_preset, task, task_set, split, limit):
    """Measure the score of a .keras file or a preset."""
    _machine.import_tensorflow()
    from rnnzoo import presets as zoo

    options = _common.pairs("--set", task_set)
    if _common.is_file(file_or_preset) and not os.path.exists(file_or_preset):
        raise FileNotFoundError(f"{file_or_preset}: there is no such file.")
    chosen = None
    if task is not None or options:
        chosen = _task_config(task, options, zoo.metrics(file_or_preset))
    measured = zoo.evaluate(file_or_preset, chosen, limit, split)
    click.echo(f"{measured['task']['name']}, {measured['examples']:,} {split} sequences:")
    stated = {} if measured["stated"] is None else {measured["metric"]: measured["stated"]}
    _common.print_scores(measured["results"], stated, "stated")


@main.command("make-preset")
@click.argument("run")
@click.argument("folder", type=click.Path(file_okay=False))
@click.option(
    "--description", help="One line: layer, units, task; by default that of the run's recipe."
)
@click.option(
    "--published",
    help="The published score, to stand beside the one measured here; or the recipe's.",
)
@click.option("--source", help="Where the published score stands.")
@click.option("--published-epochs", type=int, help="How many epochs the published score had.")
def make_preset(run, folder, description, published, source, published_epochs):
    """Make a preset in FOLDER of a finished training RUN: its best model, record and card."""
    if (published is None) != (source is None):
        raise ValueError(
            "`--published` and `--source` must be given together. "
            f"Received: --published {published}, --source {source}"
        )
    _machine.import_tensorflow()
    from rnnzoo import presets as zoo

    known = None if published is None else {"value": published, "source": source}
    if known and published_epochs is not None:
        known["epochs"] = published_epochs
    written = zoo.from_run(run, folder, description=description, published=known)
    click.echo(f"Written: {written}")


def _task_config(task, options, record):
    """The task to measure on: the one named, or the model's own, with the options given."""
    own = record.get("task") or {}
    if task is None and not own:
        raise ValueError(f"`--task` must be given with --set here. Received: --set {options}")
    name = task or own["name"]
    return {**(own if own.get("name") == name else {}), **options, "name": name}


def _options(options):
    return ", ".join(f"{key}={value!r}" for key, value in options.items())


if __name__ == "__main__":
    main(prog_name="rnnzoo")
