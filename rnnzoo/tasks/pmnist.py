"""Permuted MNIST: sequential MNIST with its pixels in a fixed random order."""

import numpy as np

from rnnzoo import _checks
from rnnzoo.tasks.smnist import SequentialMNIST

LARGEST_SEED = 2**32 - 1


class PermutedMNIST(SequentialMNIST):
    """Permuted sequential MNIST: every image's pixels in the same random order.

        x_t = pixel_{pi(t)} / 255,   pi = RandomState(permutation_seed).permutation(784)

    This is NumPy's legacy generator, which the published code uses: with the default 150, the
    seed of its published result, the order is the published one. Downsampling comes before the
    permutation, and `rows` folds the permuted pixels.

    Args:
        permutation_seed: an integer from 0 to 2**32 - 1 (default 150). It is apart from `seed`,
            so that runs with several seeds solve the same task.
        rows, downsample, data_dir, batch_size, seed: as for `SequentialMNIST`, as are shapes,
            baseline and errors.

    Source: h-detach (arXiv:1810.03023) and its published code.

    >>> import rnnzoo.tasks
    >>> rnnzoo.tasks.get("pmnist").permutation[:3].tolist()
    [176, 32, 363]
    """

    name = "pmnist"

    def __init__(
        self,
        *,
        permutation_seed=150,
        rows=False,
        downsample=1,
        data_dir=None,
        batch_size=100,
        seed=0,
    ):
        super().__init__(
            rows=rows, downsample=downsample, data_dir=data_dir, batch_size=batch_size, seed=seed
        )
        self.permutation_seed = _checks.integer("permutation_seed", permutation_seed, minimum=0)
        if self.permutation_seed > LARGEST_SEED:
            raise ValueError(
                f"`permutation_seed` must be an integer of at most {LARGEST_SEED}, as NumPy's "
                f"RandomState needs. Received: permutation_seed={permutation_seed}"
            )
        pixels = self.input_shape[0] * self.input_shape[1]
        self.permutation = np.random.RandomState(self.permutation_seed).permutation(pixels)

    def _arrange(self, pixels):
        return np.ascontiguousarray(pixels[:, self.permutation])
