"""The linear teacher-student task: learn a linear recurrence from its inputs and outputs."""

import keras
import numpy as np
import tensorflow as tf

from rnnzoo import _checks
from rnnzoo.metrics import HalfSquaredError
from rnnzoo.tasks import _teacher
from rnnzoo.tasks._task import Task


class TeacherStudent(Task):
    """The linear teacher-student task: predict the outputs of a fixed linear recurrence.

        h_t = A h_{t-1} + B x_t,   y_t = C h_t + D x_t,   h_0 = 0,   x and y real numbers

    A has entries N(0, 1/N), and then each of its eigenvalues is moved to the modulus
    ``nu_0 + (1 - nu_0) tanh|l|`` and to ``theta_0 / pi`` times its angle, with the eigenvectors as
    they are (a negative one with ``theta_0 < pi`` keeps the real part of that, so that A is real,
    and may be below nu_0). B and D have entries N(0, 1), C N(0, 1/N). The input is white, or of the
    autocorrelation ``R(d) = rho^|d|``, with variance 1 at every step.

    Every training batch is new: its data are a function of the seed, `epoch` and the batch's
    number, so that a resumed run sees what an uninterrupted one sees. Validation and test sets are
    drawn once. The teacher depends on `teacher_seed` alone. It is drawn with NumPy and so has the
    published distribution, not the published numbers.

    Args:
        nu_0: the lower bound of the eigenvalues' moduli, in [0, 1) (default 0.99).
        theta_0: the range of their angles, in [0, pi] (default pi: all).
        state_size: the teacher's N, at least 1 (default 10).
        length: the steps T, at least 1 (default 300).
        rho: the input's autocorrelation at lag 1, in [0, 1] (default 0: white; 1: constant).
        teacher_seed: an integer of at least 0 (default 42).
        train_size: sequences an epoch, at least 1 (default 12,800: 100 batches of 128).
        validation_size, test_size: sequences, at least 1 (default 1,280).
        batch_size: see `Task` (default 128).
        seed: see `Task`.

    Attributes:
        teacher: its `a`, `b`, `c`, `d`, `eigenvalues` and `response(length)`.

    Shapes and dtypes: x and y `[B, T, 1]` float32, predictions `[B, T, 1]`. The outputs are
    computed in float64, as a convolution with the teacher's impulse response. The loss is half the
    mean squared error.

    Baseline: predicting 0. Its loss is the mean over t of E[y_t^2] / 2, which the impulse response
    gives in closed form. The optimum is 0.

    Source: Zucchet & Orvieto (arXiv:2405.21064), section 5, and its published code, whose 10,000
    steps are 100 epochs here. Its learning rate decays along a cosine, and is chosen from a grid.

    >>> import rnnzoo.tasks
    >>> task = rnnzoo.tasks.get("teacher_student", nu_0=0.5, length=20)
    >>> x, y = next(iter(task.train))
    >>> x.shape.as_list(), y.shape.as_list()
    ([128, 20, 1], [128, 20, 1])
    """

    name = "teacher_student"
    default_layer = "lru"
    default_units = 64
    per_step = True
    optimum = {"loss": 0.0, "mean_squared_error": 0.0}

    def __init__(
        self,
        *,
        nu_0=0.99,
        theta_0=np.pi,
        state_size=10,
        length=300,
        rho=0.0,
        teacher_seed=42,
        train_size=12_800,
        validation_size=1_280,
        test_size=1_280,
        batch_size=128,
        seed=0,
    ):
        super().__init__(batch_size, seed)
        self.nu_0 = _checks.real("nu_0", nu_0, 0.0, 1.0, high_open=True)
        self.theta_0 = _checks.real("theta_0", theta_0, 0.0, np.pi)
        self.state_size = _checks.integer("state_size", state_size)
        self.length = _checks.integer("length", length)
        self.rho = _checks.real("rho", rho, 0.0, 1.0)
        self.teacher_seed = _checks.integer("teacher_seed", teacher_seed, minimum=0)
        self.train_size = _checks.integer("train_size", train_size)
        self.validation_size = _checks.integer("validation_size", validation_size)
        self.test_size = _checks.integer("test_size", test_size)
        self.input_shape = self.output_shape = (self.length, 1)
        self.teacher = _teacher.draw(self.nu_0, self.theta_0, self.state_size, self.teacher_seed)
        self._response = self.teacher.response(self.length)
        self._input_gain, self._input_response = _teacher.coloring(self.rho, self.length)

    @property
    def loss(self):
        return HalfSquaredError()

    @property
    def metrics(self):
        return [keras.metrics.MeanSquaredError(name="mean_squared_error")]

    @property
    def baseline(self):
        power = float(np.mean(_teacher.output_power(self._response, self.rho)))
        return {"loss": power / 2, "mean_squared_error": power}

    def optimizer(self):
        """Adam at 1e-2, a rate of the published grid; the published decay is not part of it."""
        return keras.optimizers.Adam(1e-2)

    def arrays(self, split):
        """A whole split as NumPy arrays `(x, y)`; of "train", what the next pass hands out."""
        if split != "train":
            return super().arrays(split)
        plan = self._plan((), self._shuffle_seed(), self._epoch.read_value())
        numbers = range(self._batches("train"))
        with tf.device("CPU:0"):
            batches = [self._batch((), plan, tf.constant(n, tf.int64)) for n in numbers]
        return tuple(np.concatenate([part.numpy() for part in parts]) for parts in zip(*batches))

    def _load(self, split):
        if split == "train":
            return ()
        shape = (self.size(split), self.length)
        return (self._generator(split).standard_normal(shape, dtype=np.float32),)

    def _plan(self, parts, seed, epoch):
        return (tf.stack([tf.constant(seed), epoch * self._batches("train")]),)

    def _batch(self, parts, plan, batch):
        rows = tf.minimum(self.size("train") - batch * self.batch_size, self.batch_size)
        seeds = plan[0] + tf.stack([tf.zeros_like(batch), batch])
        return self._decode(tf.random.stateless_normal([rows, self.length], seed=seeds))

    def _decode(self, noise):
        x = tf.cast(noise, tf.float64)
        if self.rho > 0:
            x = _teacher.convolve(x * self._input_gain, self._input_response)
        x = tf.cast(x, tf.float32)
        y = _teacher.convolve(tf.cast(x, tf.float64), self._response)
        return x[..., None], tf.cast(y, tf.float32)[..., None]
