"""The `rnnzoo` command: list, train, evaluate, export, and show what the zoo does.

Nothing heavy is imported before a command needs it, so that ``rnnzoo --help`` is immediate.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow; a value given stands

import ast
import contextlib
import re
import shlex
import sys

import click

from rnnzoo import __version__, _cli_data

EXPECTED = (ValueError, TypeError, OSError, ArithmeticError, ImportError)


def _tensorflow():
    """Import TensorFlow without the notes that its C++ side prints whatever the log level is."""
    if "tensorflow" in sys.modules or os.environ["TF_CPP_MIN_LOG_LEVEL"] != "3":
        return
    with contextlib.ExitStack() as stack, open(os.devnull, "w") as nowhere:
        kept = os.dup(2)
        stack.callback(os.close, kept)
        stack.callback(os.dup2, kept, 2)
        os.dup2(nowhere.fileno(), 2)
        import keras  # noqa: F401


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
    _print_table("task", [(d.name, d.summary, _options(d.options)) for d in described])


main.add_command(_cli_data.data)


@main.command()
def layers():
    """List the recurrent layers and their options."""
    from rnnzoo._zoo import LAYERS

    _print_table("layer", [(e.name, e.summary, _options(e.options)) for e in LAYERS.values()])


@main.command()
def presets():
    """List the trained models that come with the package."""
    from rnnzoo import presets as zoo

    rows = [
        (p.name, p.description, f"{p.task}: {p.metric} {p.score:.6g}, {p.parameters:,} parameters")
        for p in zoo.list_presets()
    ]
    _print_table("preset", rows, last="score")


@main.command()
@click.argument("task")
@click.option("--layer", default="hdetach_lstm", show_default=True, help="See `rnnzoo layers`.")
@click.option("--units", type=int, help="Size of the layer; by default the task's published one.")
@click.option("--p", type=float, help="hdetach_lstm: probability of cutting the gradient.")
@click.option("--epochs", type=int, default=10, show_default=True, help="Total, with resumed ones.")
@click.option("--batch-size", type=int, help="Sequences in a batch; by default the task's.")
@click.option("--learning-rate", type=float, help="By default the task's published one.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of data, weights and draws.")
@click.option("--k1", type=int, help="Truncated BPTT: time steps between two optimizer steps.")
@click.option("--k2", type=int, help="Truncated BPTT: time steps that gradients reach (k1).")
@click.option("--out", required=True, type=click.Path(file_okay=False), help="Folder of the run.")
@click.option("--set", "task_set", multiple=True, metavar="KEY=VALUE", help="A task option.")
@click.option("--layer-set", multiple=True, metavar="KEY=VALUE", help="A layer option.")
@click.option("--model-set", multiple=True, metavar="KEY=VALUE", help="An option of the model.")
def train(task, layer, units, p, epochs, batch_size, learning_rate, seed, k1, k2, out, **sets):
    """Train a layer on TASK, keep the best epoch, and score it on the test set.

    Give the same command again to go on where it stopped; the result is that of a run that was
    not stopped. OUT gets best.keras, metrics.json, state.npz and logs (for TensorBoard).
    """
    _tensorflow()
    from rnnzoo import training_run

    record = training_run.train(
        task,
        layer,
        units=units,
        epochs=epochs,
        out_dir=out,
        seed=seed,
        learning_rate=learning_rate,
        k1=k1,
        k2=k2,
        task_options=_given(_pairs("--set", sets["task_set"]), batch_size=batch_size),
        layer_options=_given(_pairs("--layer-set", sets["layer_set"]), p=p),
        model_options=_pairs("--model-set", sets["model_set"]),
        command=_command(),
    )
    best = record["best"]
    click.echo(f"Best epoch {best['epoch']} of {record['epochs']}, on the test set:")
    _print_scores(record["test"], record["baseline"])
    click.echo(f"Model, record and logs: {out}")


@main.command()
@click.argument("file_or_preset")
@click.option("--task", help="By default the one that the model was trained on.")
@click.option("--set", "task_set", multiple=True, metavar="KEY=VALUE", help="A task option.")
@click.option("--split", default="test", show_default=True, help="test, validation or train.")
@click.option("--limit", type=int, help="Measure on so many sequences only.")
def evaluate(file_or_preset, task, task_set, split, limit):
    """Measure the score of a .keras file or a preset."""
    _tensorflow()
    from rnnzoo import presets as zoo

    options = _pairs("--set", task_set)
    if _is_file(file_or_preset) and not os.path.exists(file_or_preset):
        raise FileNotFoundError(f"{file_or_preset}: there is no such file.")
    chosen = None
    if task is not None or options:
        chosen = _task_config(task, options, zoo.metrics(file_or_preset))
    measured = zoo.evaluate(file_or_preset, chosen, limit, split)
    click.echo(f"{measured['task']['name']}, {measured['examples']:,} {split} sequences:")
    stated = {} if measured["stated"] is None else {measured["metric"]: measured["stated"]}
    _print_scores(measured["results"], stated, "stated")


@main.command()
@click.argument("file_or_preset")
@click.argument("directory", type=click.Path(file_okay=False))
@click.option("--version", type=int, help="By default one more than the highest there.")
def export(file_or_preset, directory, version):
    """Write a .keras file or a preset as a SavedModel to DIRECTORY/<version>."""
    _tensorflow()
    import importlib

    from rnnzoo import checkpoints
    from rnnzoo import presets as zoo

    load = checkpoints.load_model if _is_file(file_or_preset) else zoo.load
    model = load(file_or_preset)
    written = importlib.import_module("rnnzoo.export").export(model, directory, version)
    click.echo(f"Written: {written}")


@main.command("make-preset")
@click.argument("run")
@click.argument("folder", type=click.Path(file_okay=False))
@click.option("--description", required=True, help="One line: layer, units, task.")
@click.option("--published", help="The published score, to stand beside the one measured here.")
@click.option("--source", help="Where the published score stands.")
@click.option("--published-epochs", type=int, help="How many epochs the published score had.")
def make_preset(run, folder, description, published, source, published_epochs):
    """Make a preset in FOLDER of a finished training RUN: its best model, record and card."""
    if (published is None) != (source is None):
        raise ValueError(
            "`--published` and `--source` must be given together. "
            f"Received: --published {published}, --source {source}"
        )
    _tensorflow()
    from rnnzoo import presets as zoo

    known = None if published is None else {"value": published, "source": source}
    if known and published_epochs is not None:
        known["epochs"] = published_epochs
    written = zoo.from_run(run, folder, description=description, published=known)
    click.echo(f"Written: {written}")


@main.command()
@click.option(
    "--out", required=True, type=click.Path(file_okay=False), help="Folder of the comparison."
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--quick", is_flag=True, help="A few seconds, too short to learn anything.")
def demo(out, seed, quick):
    """Train an HDetachLSTM and an LSTM on the copying task side by side, and export the first."""
    _tensorflow()
    from rnnzoo.experiments import copy_comparison

    copy_comparison.run(out, seed=seed, quick=quick)


def _is_file(file_or_preset):
    return file_or_preset.endswith(".keras") or os.sep in file_or_preset


def _pairs(option, given):
    """``("delay=50", "one_hot=true")`` as ``{"delay": 50, "one_hot": True}``."""
    found = {}
    for text in given:
        key, equals, value = text.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or not key.isidentifier():
            raise ValueError(f"`{option}` must be KEY=VALUE. Received: {option} {text}")
        if key in found:
            raise ValueError(f"`{option}` must name {key} once. Received: {option} {text}")
        found[key] = _value(value.strip())
    return found


def _value(text):
    """A number, a boolean, None, or a list of these; anything else is a string."""
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _given(options, **named):
    """`options` with those `named` ones that were given, none of them twice."""
    for name, value in named.items():
        if value is None:
            continue
        if name in options:
            flag = "--" + name.replace("_", "-")
            raise ValueError(f"`{name}` must be given once. Received: {flag} {value} and {name}=…")
        options[name] = value
    return options


def _task_config(task, options, record):
    """The task to measure on: the one named, or the model's own, with the options given."""
    own = record.get("task") or {}
    if task is None and not own:
        raise ValueError(f"`--task` must be given with --set here. Received: --set {options}")
    name = task or own["name"]
    return {**(own if own.get("name") == name else {}), **options, "name": name}


def _command():
    """The command line as the user may repeat it."""
    words = ["rnnzoo", *sys.argv[1:]]
    return " ".join(w if re.fullmatch(r"[\w./=-]+", w) else shlex.quote(w) for w in words)


def _options(options):
    return ", ".join(f"{key}={value!r}" for key, value in options.items())


def _print_table(first, rows, last="options"):
    import rich.console
    import rich.table

    console = rich.console.Console()
    if not rows:
        console.print(f"There is no {first} here.")
        return
    table = rich.table.Table(first, "what", last)
    table.columns[0].no_wrap = True
    for row in rows:
        table.add_row(*(cell.replace("[", r"\[") for cell in row))
    console.print(table)


def _print_scores(scores, beside, title="baseline"):
    for name, value in scores.items():
        known = f"   {title} {beside[name]:.6g}" if name in beside else ""
        click.echo(f"  {name:<20} {value:.6g}{known}")


if __name__ == "__main__":
    main(prog_name="rnnzoo")
