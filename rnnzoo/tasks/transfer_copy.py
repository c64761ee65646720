"""Transfer copying: train at one delay, evaluate at longer ones."""

from rnnzoo import _checks
from rnnzoo.tasks.copy import RECALLED, Copy

# Accuracy over the ten recalled symbols, trained at delay 100, as read from a picture of
# the table of an early version of the paper.
PUBLISHED = {
    "lstm": {200: 0.6485, 400: 0.4817, 500: 0.4303, 1000: 0.2882, 2000: 0.1948, 5000: 0.1458},
    "hdetach_lstm p=0.5": {
        200: 0.7479,
        400: 0.5491,
        500: 0.5243,
        1000: 0.4354,
        2000: 0.3434,
        5000: 0.2455,
    },
    "hdetach_lstm p=0.25": {
        200: 0.9072,
        400: 0.7776,
        500: 0.7468,
        1000: 0.6319,
        2000: 0.5183,
        5000: 0.4235,
    },
}


class TransferCopy(Copy):
    """Transfer copying: the copying task, trained at one delay and evaluated at others.

    `train`, `validation` and `test` are those of `Copy` at `delay`. ``at(d)`` is the same task at
    another delay: its test set has the same symbols in the same order, only the wait is longer, so
    that scores at two delays differ by the delay alone.

    Args:
        delay: the delay of training, at least 1 (default 100, as published).
        delays: the delays of `scores`, at least one (default the published 200, 400, 500, 1000,
            2000 and 5000).
        recalled, one_hot, train_size, validation_size, test_size, batch_size, seed: see `Copy`.

    Shapes, dtypes, loss, metrics and baseline: see `Copy`.

    Source: h-detach (arXiv:1810.03023), section 4; `PUBLISHED` holds its table.

    >>> import rnnzoo.tasks
    >>> task = rnnzoo.tasks.get("transfer_copy", delay=3, train_size=4, test_size=4)
    >>> task.at(50).input_shape, task.at(50).delay
    ((70, 1), 50)
    """

    name = "transfer_copy"

    def __init__(
        self,
        *,
        delay=100,
        delays=(200, 400, 500, 1000, 2000, 5000),
        recalled=RECALLED,
        one_hot=False,
        train_size=100_000,
        validation_size=5_000,
        test_size=5_000,
        batch_size=100,
        seed=0,
    ):
        super().__init__(
            delay=delay,
            recalled=recalled,
            one_hot=one_hot,
            train_size=train_size,
            validation_size=validation_size,
            test_size=test_size,
            batch_size=batch_size,
            seed=seed,
        )
        if not isinstance(delays, (list, tuple)):
            raise TypeError(f"`delays` must be a list of integers. Received: delays={delays!r}")
        if not delays or len(set(delays)) < len(delays):
            raise ValueError(
                f"`delays` must be at least one delay, and none twice. Received: delays={delays!r}"
            )
        self.delays = tuple(_checks.integer("delays", d) for d in delays)

    def at(self, delay):
        """The copying task at another delay, with everything else as here.

        Args:
            delay: an integer of at least 1.

        Returns:
            A `Copy`; its `test` is the evaluation set at that delay.
        """
        options = self.get_config()
        del options["name"], options["delays"]
        return Copy(**{**options, "delay": delay})

    def scores(self, model):
        """What a compiled model scores on the test set of each of `delays`.

        Returns:
            A dict from the delay to a dict of loss and metrics, as `model.evaluate` names them.
        """
        return {
            delay: model.evaluate(self.at(delay).test, return_dict=True, verbose=0)
            for delay in self.delays
        }
