r"""Linear students of the linear teacher, trained through their impulse responses.

A linear layer that starts from zero is a convolution with its impulse response k. So it need not
be run on every sequence of a batch, only on one impulse, `[1, T, 1]`:

    loss = mean over rows and steps of ((k - k*) convolved with x)^2 / 2

is the loss of the layer on the batch, with the same gradient but for rounding, and k* the
teacher's response. Batches are white noise, new at every step, a function of seed and step.
"""

import functools
import statistics

from rnnzoo.experiments import _experiment

KINDS = ("dense", "blocks", "complex", "complex_normalized", "lru")
SHORT = (
    "The layer is run on an impulse, not on each sequence of a batch: its outputs are the batch "
    "convolved with that response, so loss and gradient are the batch's, but for rounding."
)


def student(kind, size, seed, r_min=0.0, heads=1, first="teacher", **options):
    """A built layer from one number a step to one number a step.

    Args:
        kind: One of `KINDS`: `LinearRNN` with a whole matrix or with `heads` blocks; `ComplexRNN`,
            and the same with a learned normalization of its inputs; `LRU`.
        size: Real states of the first two, complex ones of the others.
        r_min: No first eigenvalue has a smaller modulus; below 1.
        first: The first matrix of the real kinds: drawn as the teacher's, or from a "ring", as the
            eigenvalues of the others are, in a normal matrix.
        options: Of the layer.
    """
    from rnnzoo import initializers, layers

    options = {"state_size": size, "seed": 1000 * seed, "return_sequences": True, **options}
    if kind in ("dense", "blocks"):
        kinds = {"teacher": initializers.TeacherEigenvalues, "ring": initializers.Ring}
        layer = layers.LinearRNN(1, heads, recurrent_initializer=kinds[first](r_min), **options)
    elif kind == "complex":
        layer = layers.ComplexRNN(1, r_min=r_min, **options)
    else:
        form = "cartesian" if kind == "complex_normalized" else "exponential"
        layer = layers.LRU(1, parametrization=form, r_min=r_min, **options)
    layer.build((None, None, 1))
    return layer


def response(layer, length, training=False):
    """The outputs `[T]` for the input 1, 0, 0, ..."""
    import tensorflow as tf

    impulse = tf.one_hot([0], length, dtype=layer.cell.state_dtype)[..., None]
    return layer(impulse, training=training)[0, :, 0]


def batch_loss(found, wanted, x):
    """Half the mean squared difference of two responses' outputs for inputs `x [B, T]`."""
    import tensorflow as tf

    size = [2 * x.shape[1]]  # room for the whole convolution, so that its end does not wrap around
    spectrum = tf.signal.rfft(x, size) * tf.signal.rfft(found - wanted, size)
    return tf.reduce_mean(tf.signal.irfft(spectrum, size)[:, : x.shape[1]] ** 2) / 2


def expected_loss(found, wanted):
    """Its mean over all white inputs: the later a term of the response, the fewer steps have it."""
    import numpy as np

    difference = np.asarray(found, np.float64) - wanted
    steps = len(difference)
    return float(difference**2 @ (1.0 - np.arange(steps) / steps) / 2)


def train(layer, wanted, optimizer, *, seed, batch, epochs, steps):
    """The mean loss of each epoch of so many steps, and the last one's; or that it diverged."""
    import numpy as np

    epoch = _epoch_function(layer, wanted, optimizer, seed, batch, steps)
    curve = []
    for number in range(epochs):
        curve.append(float(epoch(number * steps)))
        if not np.isfinite(curve[-1]):
            return {"diverged": f"the loss was not finite in epoch {number + 1} of {epochs}"}
    found = response(layer, len(wanted)).numpy()
    return {"curve": curve, "loss": curve[-1], "expected_loss": expected_loss(found, wanted)}


def _epoch_function(layer, wanted, optimizer, seed, batch, steps):
    import tensorflow as tf

    length = len(wanted)
    wanted = tf.constant(wanted, layer.cell.state_dtype)
    optimizer.build(layer.trainable_variables)
    values = [v.value for v in layer.trainable_variables]

    def step(i, first, total):
        x = tf.random.stateless_normal([batch, length], [seed, first + i], dtype=wanted.dtype)
        with tf.GradientTape() as tape:
            loss = batch_loss(response(layer, length, training=True), wanted, x)
        optimizer.apply(tape.gradient(loss, values), layer.trainable_variables)
        return i + 1, first, total + loss

    @tf.function(autograph=False)
    def epoch(first):
        start = (0, first, tf.zeros([], wanted.dtype))
        return tf.while_loop(lambda i, *_: i < steps, step, start)[-1] / steps

    return lambda first: epoch(tf.constant(first, tf.int32))


def cells(settings, runs):
    """The trainings of each run at each learning rate and seed.

    Args:
        settings: Has `learning_rates`, `seeds` and `training`, the sizes that all have in common.
        runs: Dict from a name to what makes the run's own settings: `kind`, `heads`, `size`,
            `r_min` of the student, `nu_0` of the teacher.
    """
    found = []
    grid = _experiment.grid(rate=settings["learning_rates"], seed=settings["seeds"])
    for (name, run), one in ((pair, one) for pair in runs.items() for one in grid):
        known = {**run, **settings["training"], "learning_rate": one["rate"], "seed": one["seed"]}
        work = functools.partial(_run, **known)
        found.append(_experiment.Cell(_name(name, one["rate"], one["seed"]), known, work))
    return found


def _name(run, rate, seed):
    return f"{run}/lr{rate:g}/seed{seed}"


def _run(folder, console, *, nu_0, length, learning_rate, epochs, steps, batch, seed, **options):
    """One training: Adam, the rate falling along a cosine to 1e-7."""
    import keras

    rate = keras.optimizers.schedules.CosineDecay(
        learning_rate, epochs * steps, alpha=1e-7 / learning_rate
    )
    layer = student(seed=seed, **options)
    wanted = teacher(nu_0).response(length)
    sizes = {"batch": batch, "epochs": epochs, "steps": steps}
    result = train(layer, wanted, keras.optimizers.Adam(rate), seed=seed, **sizes)
    if "loss" in result:
        result["largest_modulus"] = float(abs(layer.eigenvalues()).max())
    keras.backend.clear_session()
    return result


def teacher(nu_0):
    """The task's teacher of ten states: the seed is always the published one."""
    from rnnzoo import tasks

    return tasks.get("teacher_student", nu_0=nu_0).teacher


def zero_loss(nu_0, length):
    """The loss of predicting 0."""
    import numpy as np

    return expected_loss(np.zeros(length), teacher(nu_0).response(length))


def summarize(settings, results, run):
    """The run's score at the best learning rate of the grid, or None where trainings are missing.

    A rate at which a training diverged is no candidate: it is not one that could be relied on.
    """
    seeds = settings["seeds"]
    by_rate = {
        rate: [results.get(_name(run, rate, seed)) for seed in seeds]
        for rate in settings["learning_rates"]
    }
    if any(None in group for group in by_rate.values()):
        return None
    diverged = [rate for rate, group in by_rate.items() if any("diverged" in r for r in group)]
    rate = _experiment.best(by_rate, _mean_loss)
    if rate is None:
        return {"loss": None, "diverged": diverged}
    losses = [result["loss"] for result in by_rate[rate]]
    deviation = statistics.stdev(losses) if len(losses) > 1 else 0.0
    return {
        "loss": statistics.fmean(losses),
        "standard_error": deviation / len(losses) ** 0.5,
        "losses": losses,
        "expected_loss": statistics.fmean(r["expected_loss"] for r in by_rate[rate]),
        "learning_rate": rate,
        "by_rate": {f"{r:g}": _mean_loss(group) for r, group in by_rate.items()},
        "diverged": diverged,
        "largest_modulus": max(r["largest_modulus"] for r in by_rate[rate]),
        "curve": [statistics.fmean(values) for values in zip(*(r["curve"] for r in by_rate[rate]))],
    }


def _mean_loss(group):
    if any("diverged" in result for result in group):
        return None
    return statistics.fmean(result["loss"] for result in group)
