"""The options of `rnnzoo train` as the arguments of `rnnzoo.training.train`."""

import shlex

from rnnzoo.cli import _common

MLP_UNITS = 256


def arguments(
    smoke,
    *,
    task,
    p,
    stack,
    batch_size,
    optimizer,
    clip,
    pooling,
    head,
    task_set,
    layer_set,
    model_set,
    optimizer_set,
    schedule_set,
    **options,
):
    """The arguments, of which `options` are those that need no change."""
    if task is None:
        raise ValueError("`TASK` must be given, or a `--recipe`. Received: neither")
    if smoke:
        raise ValueError("`--smoke` must come with `--recipe`. Received: --smoke")
    if optimizer_set and optimizer is None:
        raise ValueError(
            "`--optimizer-set` must come with `--optimizer`. "
            f"Received: --optimizer-set {optimizer_set[0]}"
        )
    own = _common.pairs("--optimizer-set", optimizer_set)
    return {
        "task": task,
        "layers": [layer_of(text) for text in stack] or None,
        "optimizer": None if optimizer is None else {"name": optimizer, **own},
        "clip": True if clip is None else _common.value_of(clip),
        "task_options": _common.given(_common.pairs("--set", task_set), batch_size=batch_size),
        "layer_options": _common.given(_common.pairs("--layer-set", layer_set), p=p),
        "model_options": model_options(_common.pairs("--model-set", model_set), pooling, head),
        "schedule_options": _common.pairs("--schedule-set", schedule_set),
        **options,
    }


def layer_of(text):
    """``"lru units=64 r_min=0.9"`` as ``{"layer": "lru", "units": 64, "r_min": 0.9}``."""
    name, *options = shlex.split(text) or [""]
    return {"layer": name, **_common.pairs("--stack", options)}


def model_options(options, pooling, head):
    """The options of the model, with what `--pooling` and `--head` say."""
    if pooling is not None:
        _common.given(options, pooling=pooling)
        options["pooling"] = None if pooling == "none" else pooling
    if head is not None:
        kind, _, units = head.partition(":")
        if kind not in ("linear", "mlp") or (units and not (kind == "mlp" and units.isdigit())):
            raise ValueError(f"`--head` must be linear, mlp or mlp:UNITS. Received: --head {head}")
        if kind == "mlp":
            _common.given(options, mlp=int(units or MLP_UNITS))
    return options
