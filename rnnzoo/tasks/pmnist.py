"""Permuted MNIST: sequential MNIST with its pixels in a fixed random order."""

import numpy as np

from rnnzoo import _checks
from rnnzoo.tasks.smnist import SequentialMNIST

LARGEST_SEED = 2**32 - 1
ORDERS = ("random", "bit_reversal")


class PermutedMNIST(SequentialMNIST):
    """Permuted sequential MNIST: every image's pixels in the same random order.

        x_t = pixel_{pi(t)} / 255,   pi = RandomState(permutation_seed).permutation(784)

    This is NumPy's legacy generator, which the published code uses: with the default 150, the
    seed of its published result, the order is the published one. Downsampling comes before the
    permutation, and `rows` folds the permuted pixels.

    With ``order="bit_reversal"`` the order is that of the S4 and minimal-LRU codes' psMNIST:
    the numbers 0 ... 1023 with their ten bits reversed, those below 784 kept in that order,

        pi = (r(0), r(1), ..., r(1023)) without those >= 784,   r(b_9 ... b_0) = b_0 ... b_9

    and with fewer pixels likewise, with as many bits as their number needs.

    Args:
        order: "random" (default) or "bit_reversal".
        permutation_seed: an integer from 0 to 2**32 - 1 (default 150). It is apart from `seed`,
            so that runs with several seeds solve the same task. Bit reversal does not use it.
        rows, downsample, data_dir, batch_size, seed: as for `SequentialMNIST`, as are shapes,
            baseline and errors.

    Source: h-detach (arXiv:1810.03023) and its published code; bit reversal as in Gu, Goel & Ré
    (arXiv:2111.00396) and its code.

    >>> import rnnzoo.tasks
    >>> rnnzoo.tasks.get("pmnist").permutation[:3].tolist()
    [176, 32, 363]
    >>> rnnzoo.tasks.get("pmnist", order="bit_reversal").permutation[:5].tolist()
    [0, 512, 256, 768, 128]
    """

    name = "pmnist"

    def __init__(
        self,
        *,
        order="random",
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
        self.order = _checks.choice("order", order, ORDERS)
        pixels = self.input_shape[0] * self.input_shape[1]
        if self.order == "bit_reversal":
            self.permutation = _bit_reversal(pixels)
        else:
            self.permutation = np.random.RandomState(self.permutation_seed).permutation(pixels)

    def _arrange(self, pixels):
        return np.ascontiguousarray(pixels[:, self.permutation])


def _bit_reversal(size):
    """The numbers below `size` in the order of their reversed bits."""
    bits = (size - 1).bit_length()
    numbers = np.arange(2**bits)
    reversed_bits = sum(((numbers >> bit) & 1) << (bits - 1 - bit) for bit in range(bits))
    return reversed_bits[reversed_bits < size]
