"""A run's folder: where the run stands, for one that is resumed and for people who read it."""

import contextlib
import functools
import inspect
import json
import math
import pathlib
import sys

import keras

from rnnzoo import _keras, _machine, checkpoints
from rnnzoo.training import _record
from rnnzoo.training._replicas import build_optimizer
from rnnzoo.training._scalars import Scalars

STATE, BEST, METRICS, LOGS = "state.npz", "best.keras", "metrics.json", "logs"


class RunFolder:
    """Keeps a run: its state after the last epoch, its best model, its record and its logs.

    Nothing in it depends on Keras's training loop. Of several workers that train as one, the chief
    writes, and all of them read.
    """

    def __init__(self, model, task, out_dir, settings, command, averages=None):
        self.model, self.task, self.out_dir = model, task, out_dir
        self.averages = averages
        self.writes = model.distribute_strategy.extended.should_checkpoint
        self.described = _record.describe(model, task, settings)
        self.command = command or " ".join([pathlib.Path(sys.argv[0]).name, *sys.argv[1:]])
        self.scalars = Scalars(self.out_dir / LOGS)
        self.epoch, self.best, self.parts = 0, None, 0
        self.curve, self.epoch_seconds = {}, []
        self._arrays = None
        self._read()

    def _read(self):
        state = self.out_dir / STATE
        if not state.exists():
            self._refuse_foreign_files()
            return
        self._arrays, kept = checkpoints.load_arrays(state)
        there = kept["described"]
        there["task"] = {**self._defaults(), **there["task"]}
        difference = _record.first_difference(there, self.described)
        if difference is not None:
            setting, there, here = difference
            raise ValueError(
                f"`out_dir` must be empty or hold a run with the same settings: in {self.out_dir} "
                f"`{setting}` is {there!r}. Received: {setting}={here!r}"
            )
        for name in ("epoch", "best", "curve", "epoch_seconds", "parts"):
            setattr(self, name, kept[name])

    def _defaults(self):
        """What the task's options are by default, and were before the task had the option."""
        options = inspect.signature(type(self.task)).parameters.values()
        defaults = {option.name: option.default for option in options}
        described = {name: defaults[name] for name in self.described["task"] if name in defaults}
        return json.loads(json.dumps(described))

    def _refuse_foreign_files(self):
        for name in (BEST, METRICS):
            if (self.out_dir / name).exists():
                raise ValueError(
                    f"`out_dir` must be empty or hold a run to resume; it has a {name} but no "
                    f"{STATE}. Received: out_dir={str(self.out_dir)!r}"
                )
        self.out_dir.mkdir(parents=True, exist_ok=True)

    def variables(self):
        """Every variable that the next epoch depends on, by the key it is stored under."""
        model = list(self.model.variables)
        known = {id(v) for v in model}
        seeds = {id(s): s for s in _seed_states(self.model) if id(s) not in known}
        groups = {
            "model": [*model, *seeds.values()],
            "optimizer": list(self.model.optimizer.variables),
            "average": self.averages.variables if self.averages else [],
        }
        return {f"{g}_{i:04d}": v for g, group in groups.items() for i, v in enumerate(group)}

    def begin(self):
        """Put the kept state back, or keep the first one."""
        build_optimizer(self.model)
        if self._arrays is None:
            self.save()
            return
        variables = self.variables()
        if {k: tuple(v.shape) for k, v in variables.items()} != {
            k: tuple(a.shape) for k, a in self._arrays.items()
        }:
            raise ValueError(f"{self.out_dir / STATE} does not fit this model and optimizer.")
        for key, variable in variables.items():
            variable.assign(self._arrays[key])
        self._arrays = None

    def save(self):
        """Write the state of all finished epochs, in one atomic step."""
        if not self.writes:
            return
        arrays = {k: keras.ops.convert_to_numpy(v) for k, v in self.variables().items()}
        kept = {
            "described": self.described,
            "epoch": self.epoch,
            "best": self.best,
            "curve": self.curve,
            "epoch_seconds": self.epoch_seconds,
            "parts": self.parts,
        }
        checkpoints.save_arrays(self.out_dir / STATE, arrays, kept)

    def finish_epoch(self, epoch, logs, seconds):
        """Take an epoch's results; the state comes after the best model, so that a stop between
        the two repeats the epoch and writes the same model again."""
        self.epoch = epoch + 1
        for name, value in logs.items():
            self.curve.setdefault(name, []).append(float(value))
        self.epoch_seconds.append(seconds)
        value = self._monitored(logs)
        if self._improves(value, logs):
            self.best = {"epoch": self.epoch, self.task.monitor: value}
            if self.writes:
                with self.averages.used() if self.averages else contextlib.nullcontext():
                    checkpoints.save_model(self.model, self.out_dir / BEST)
        if self.writes:
            self.scalars.write(self.epoch, logs)
        self.save()
        self.write_metrics()

    @functools.cached_property
    def _baseline(self):
        """Kept, because a baseline may be counted on the data, and a record is written often."""
        return dict(self.task.baseline)

    def _monitored(self, logs):
        if self.task.monitor not in logs:
            raise ValueError(
                f"`monitor` of the task must be one of {', '.join(sorted(logs))}. "
                f"Received: monitor={self.task.monitor!r}"
            )
        return float(logs[self.task.monitor])

    def _improves(self, value, logs):
        """Whether an epoch scores better; of equal ones (an accuracy of 1) the loss decides."""
        if self.best is None:
            return True
        best = self.best[self.task.monitor]
        if value == best and "val_loss" in logs:
            return logs["val_loss"] < self.curve["val_loss"][self.best["epoch"] - 1]
        return value > best if self.task.monitor_mode == "max" else value < best

    def stalled(self, patience):
        """Whether the last `patience` epochs all left the best one where it was."""
        return self.best is not None and self.epoch - self.best["epoch"] >= patience

    def write_metrics(self):
        """Return the record that people read, once written."""
        record = {
            "settings": self.described["settings"],
            "task": self.task.get_config(),
            "optimizer": self.described["optimizer"],
            "seed": self.described["settings"].get("seed", self.described["task"].get("seed")),
            "command": self.command,
            "epochs": self.epoch,
            "monitor": self.task.monitor,
            "best": self.best,
            "baseline": self._baseline,
            "parameters": self.model.count_params(),
            "wall_time_s": round(math.fsum(self.epoch_seconds), 3),
            "parts": self.parts,
            "epoch_seconds": [round(s, 3) for s in self.epoch_seconds],
            "curve": self.curve,
            "versions": _machine.versions(),
            "hardware": _machine.hardware(),
        }
        if self.writes:
            _record.write_json(self.out_dir / METRICS, record)
        return record


def _seed_states(model):
    """The states of seed generators, also of those that `model.variables` does not list."""
    for layer in _keras.flat_layers(model):
        for value in vars(layer).values():
            if isinstance(value, keras.random.SeedGenerator):
                yield value.state
