"""`rnnzoo train` and `rnnzoo reproduce`: the commands that compute for long."""

import sys

import click

from rnnzoo import _machine
from rnnzoo.cli import _common, _training
from rnnzoo.training import _workers


@click.command()
@click.argument("task", required=False)
@click.option("--recipe", help="Train a preset as it was made, see `rnnzoo recipes`; no TASK then.")
@click.option("--smoke", is_flag=True, help="With --recipe: a few seconds, to see that it runs.")
@click.option("--layer", help="See `rnnzoo layers`; by default the task's published one.")
@click.option("--units", type=int, help="Size of the layer; by default the task's published one.")
@click.option("--p", type=float, help="hdetach_lstm: probability of cutting the gradient.")
@click.option("--depth", type=int, default=1, show_default=True, help="How many such layers.")
@click.option(
    "--stack",
    multiple=True,
    metavar="'LAYER KEY=VALUE ...'",
    help="Instead of these: one layer of a stack, from the first on; units=... belongs to it.",
)
@click.option("--bidirectional", is_flag=True, help="Each layer reads in both directions.")
@click.option(
    "--pooling", help="What the head reads: the last step, or the mean: last, mean, none."
)
@click.option("--head", help="linear, mlp (256 units below the head) or mlp:UNITS.")
@click.option("--epochs", type=int, default=10, show_default=True, help="Total, with resumed ones.")
@click.option("--patience", type=int, help="Stop after so many epochs without a better one.")
@click.option("--detach-epochs", type=int, help="hdetach_lstm: p is 0 after so many epochs.")
@click.option("--batch-size", type=int, help="Sequences in a batch; by default the task's.")
@click.option("--limit", type=int, help="Only so many sequences (of a text: tokens) of each split.")
@click.option("--optimizer", help="adam, grouped_adamw, rmsprop, sgd; by default the task's.")
@click.option("--learning-rate", type=float, help="By default the published or optimizer's one.")
@click.option("--clip", help="Norm of the gradient to clip to; false: none; by default the task's.")
@click.option("--average", type=float, help="Decay of the averages of the weights that are kept.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of data, weights and draws.")
@click.option("--k1", type=int, help="Truncated BPTT: time steps between two optimizer steps.")
@click.option("--k2", type=int, help="Truncated BPTT: time steps that gradients reach (k1).")
@click.option("--out", required=True, type=click.Path(file_okay=False), help="Folder of the run.")
@click.option(
    "--workers",
    type=int,
    help="Processes on this machine that share each batch and train as one. For several machines "
    "give each the same command, without --workers, and TensorFlow's TF_CONFIG.",
)
@click.option(
    "--schedule",
    default="constant",
    show_default=True,
    help="Of the learning rate: constant; cosine (to almost 0 over --epochs, which then is fixed); "
    "plateau (divided by 4 after an epoch whose validation loss is not the best so far); "
    "inverse (divided by the number of the optimizer step).",
)
@click.option(
    "--reference", type=float, help="A published score of the monitored metric, to draw beside it."
)
@click.option("--set", "task_set", multiple=True, metavar="KEY=VALUE", help="A task option.")
@click.option("--layer-set", multiple=True, metavar="KEY=VALUE", help="A layer option.")
@click.option("--model-set", multiple=True, metavar="KEY=VALUE", help="An option of the model.")
@click.option("--optimizer-set", multiple=True, metavar="KEY=VALUE", help="weight_decay, groups...")
@click.option(
    "--schedule-set", multiple=True, metavar="KEY=VALUE", help="warmup, final; or factor."
)
@click.pass_context
def train(context, recipe, smoke, out, workers, **options):
    """Train a layer on TASK, keep the best epoch, and score it on the test set.

    Give the same command again to go on where it stopped; the result is that of a run that was
    not stopped. OUT gets best.keras, metrics.json, state.npz and logs (for TensorBoard).
    """
    # Before anything heavy is imported, so that a mistake is told at once.
    chosen = _of_recipe(context, recipe, smoke) if recipe else _training.arguments(smoke, **options)
    if workers is not None and _workers.launch(workers, sys.argv[1:]):
        return
    _machine.import_tensorflow()
    from rnnzoo import training

    record = training.train(out_dir=out, command=_common.command(), **chosen)
    if "test" not in record:
        return  # a worker; the chief says it
    best = record["best"]
    click.echo(f"Best epoch {best['epoch']} of {record['epochs']}, on the test set:")
    _common.print_scores(record["test"], record["baseline"])
    click.echo(f"Model, record and logs: {out}")


def _of_recipe(context, name, smoke):
    """The arguments of `training.train` for a recipe, beside which hardly anything may be given."""
    from rnnzoo import presets

    for option in context.params:
        given = context.get_parameter_source(option) == click.core.ParameterSource.COMMANDLINE
        if given and option not in ("recipe", "smoke", "out", "workers"):
            raise ValueError(
                "`--recipe` says all that decides a result; beside it stand --out, --smoke and "
                f"--workers. Received: {option}={context.params[option]!r}"
            )
    return presets.recipe(name).training(smoke)


@click.command()
@click.argument("experiment", metavar="[ID]", required=False)
@click.option("--scale", default="smoke", show_default=True, help="smoke, desk or paper.")
@click.option(
    "--out",
    type=click.Path(file_okay=False),
    help="By default results/ID/SCALE, from where you are.",
)
@click.option(
    "--only", "--task", help="Only these cells: the first parts of their names, e.g. a task."
)
@click.option("--jobs", default=1, show_default=True, help="Cells at once, on as many cores each.")
def reproduce(experiment, scale, out, only, jobs):
    """Run the experiment ID of a paper again; without an ID, list them and what they cost.

    Writes metrics.json and figure.png. Give the same command again to go on where it stopped.
    """
    from rnnzoo import experiments

    if experiment is None:
        rows = [experiments.describe(id) for id in experiments.names()]
        costs = ["; ".join(f"{scale}: {c}" for scale, c in row.cost.items()) for row in rows]
        listed = [(row.id, row.summary, cost) for row, cost in zip(rows, costs)]
        _common.print_table("experiment", listed, last="cost")
        return
    _machine.import_tensorflow()
    experiments.reproduce(experiment, scale, out, only, jobs=jobs)
