"""Progress of `fit` for people: a live bar on a terminal, one line an epoch anywhere."""

import time

import keras
import rich.console
import rich.progress


class ProgressBar(keras.callbacks.Callback):
    """A bar over the steps of each epoch, then one line with what the epoch gave.

    ``ProgressBar(steps, title)``: `steps` is the number of batches in an epoch (None: not known),
    `title` what the line begins with, `console` a `rich.console.Console` (by default standard
    output). Where the console is no terminal there is no bar, only the lines.
    """

    def __init__(self, steps=None, title="", console=None):
        super().__init__()
        self.steps, self.title = steps, title
        self.console = console or rich.console.Console()
        self.bar = None

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()
        if not self.console.is_terminal:
            return
        self.bar = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeRemainingColumn(),
            rich.progress.TextColumn("{task.fields[shown]}"),
            console=self.console,
            transient=True,
        )
        self.row = self.bar.add_task(self._head(epoch), total=self.steps, shown="")
        self.bar.start()

    def on_train_batch_end(self, batch, logs=None):
        if self.bar is not None:
            self.bar.update(self.row, completed=batch + 1, shown=f"loss {logs['loss']:.4f}")

    def on_epoch_end(self, epoch, logs=None):
        self.close()
        seconds = time.perf_counter() - self.started
        shown = "  ".join(f"{name} {value:.4f}" for name, value in logs.items())
        self.console.print(
            f"{self._head(epoch)}  {shown}  {seconds:.1f} s", highlight=False, soft_wrap=True
        )

    def close(self):
        """Take the bar off the terminal: at an epoch's end, or where training broke off."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def _head(self, epoch):
        total = self.params.get("epochs") if self.params else None
        count = f"{epoch + 1}/{total}" if total else f"{epoch + 1}"
        return f"{self.title} epoch {count}".strip()
