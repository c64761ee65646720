"""What a run is made of, from names and options: layers, model, optimizer and schedule."""

import inspect

import keras

from rnnzoo import _checks, zoo
from rnnzoo.training import schedules
from rnnzoo.training.hdetach_annealing import HDetachAnnealing
from rnnzoo.training.optimizers import GroupedAdamW

OPTIMIZERS = {
    "adam": keras.optimizers.Adam,
    "grouped_adamw": GroupedAdamW,
    "rmsprop": keras.optimizers.RMSprop,
    "sgd": keras.optimizers.SGD,
}
# What a run says by `clip` and `average`, and what has no meaning for it.
_NOT_OPTIONS = {"self", "kwargs", "name", "clipnorm", "clipvalue", "global_clipnorm", "use_ema"}
_NOT_OPTIONS |= {"ema_momentum", "ema_overwrite_frequency", "loss_scale_factor"}


def specify(task, layer, units, depth, layer_options, layers):
    """The layers of a run, from the first on, as dicts with `layer`, `units` and options."""
    depth = _checks.integer("depth", depth)
    if layers is None:
        name = task.default_layer if layer is None else layer
        size = task.default_units if units is None else units
        return [{"layer": name, "units": size, **(layer_options or {})}] * depth
    one = {"layer": layer, "units": units, "depth": depth, "layer_options": layer_options}
    for name, value in one.items():
        if value and (name, value) != ("depth", 1):
            raise ValueError(
                f"`{name}` must not be given beside `layers`. Received: {name}={value!r}"
            )
    if not isinstance(layers, (list, tuple)) or not layers:
        raise ValueError(f"`layers` must be a list of dicts. Received: layers={layers!r}")
    for spec in layers:
        if not isinstance(spec, dict) or not {"layer", "units"} <= set(spec):
            raise ValueError(
                "`layers` must be dicts with `layer`, `units` and perhaps options of the layer. "
                f"Received: {spec!r}"
            )
    return [dict(spec) for spec in layers]


def build_layers(specified, bidirectional):
    """New layers, as specified."""
    built = []
    for spec in specified:
        options = {k: v for k, v in spec.items() if k not in ("layer", "units")}
        built.append(zoo.build(spec["layer"], spec["units"], **options))
    if _checks.boolean("bidirectional", bidirectional):
        built = [keras.layers.Bidirectional(layer) for layer in built]
    return built


def build_model(task, layers, options):
    known = [name for name in inspect.signature(task.build_model).parameters if name != "layer"]
    for name in options:
        if name not in known:
            raise ValueError(
                f"`{name}` must be an option of the model of the task {task.name}: one of "
                f"{', '.join(known) or '(it has none)'}. Received: {name}={options[name]!r}"
            )
    return task.build_model(layers, **options)


def build_optimizer(task, given, learning_rate, clip):
    """The optimizer of that name and options, or the task's; its clipping by norm as told."""
    published = task.optimizer()
    optimizer = published if given is None else _optimizer(given, learning_rate)
    if clip is True or clip is False:
        optimizer.global_clipnorm = published.global_clipnorm if clip else None
    else:
        optimizer.global_clipnorm = _checks.real("clip", clip, 0.0, low_open=True)
    if learning_rate is not None:
        optimizer.learning_rate = _checks.real("learning_rate", learning_rate, 0.0, low_open=True)
    return optimizer


def _optimizer(given, learning_rate):
    if not isinstance(given, dict) or "name" not in given:
        raise TypeError(
            "`optimizer` must be a dict with a `name` and options, or None. "
            f"Received: optimizer={given!r}"
        )
    options = dict(given)
    kind = OPTIMIZERS[_checks.choice("optimizer", options.pop("name"), tuple(OPTIMIZERS))]
    known = {}
    for one in inspect.getmro(kind):
        if issubclass(one, keras.optimizers.Optimizer):
            known |= inspect.signature(one.__init__).parameters
    known = sorted(set(known) - _NOT_OPTIONS)
    for name, value in options.items():
        if name not in known:
            raise ValueError(
                f"`{name}` must be an option of the optimizer {given['name']}: one of "
                f"{', '.join(known)}. Received: {name}={value!r}"
            )
    if learning_rate is not None and "learning_rate" in options:
        raise ValueError(
            "`learning_rate` must be given once. Received: learning_rate="
            f"{learning_rate!r} and optimizer={given!r}"
        )
    return kind(**options)


def build_schedule(task, optimizer, name, epochs, options):
    """The schedule as a list of callbacks, empty where the learning rate stays."""
    rate = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
    batches = int(task.train.cardinality())
    made = schedules.make(name, rate, _checks.integer("epochs", epochs), batches, options)
    if made is None:
        return []
    made.attach(optimizer)
    return [made]


def build_annealing(detach_epochs, epochs):
    """What turns h-detach off after so many epochs, as a list of callbacks."""
    if detach_epochs is None or _checks.integer("detach_epochs", detach_epochs, 0) >= epochs:
        return []
    return [HDetachAnnealing(epochs - detach_epochs)]
