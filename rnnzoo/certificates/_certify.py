r"""Stability that a model can prove about itself: certify, truncate, verify.

The bound is Lemma 1 of *Stable Recurrent Models*, carried through a model of several layers. At
each layer let $e$ be the largest difference, over rows and time steps, between the sequence in the
recurrent model and in the one truncated to k steps, both started from zero.

- **A recurrent layer** whose step is a $\lambda$-contraction in the state and $L$-Lipschitz in the
  input, on a set of states that both models stay in, takes it to
  $$e' \le \lambda^k R + L \frac{1 - \lambda^k}{1 - \lambda}\, e,$$
  with $R$ the largest state: the window's states obey
  $d_j \le \lambda d_{j-1} + L e$ from $d_0 = \|s_{t-k} - 0\| \le R$.
- **A layer between them** that is $M$-Lipschitz on each time step takes it to $M e$.
- **Norms.** Both the sup-norm and the 2-norm of $e$ are kept, and at each layer the better of
  $\|v\|_\infty \le \|v\|_2 \le \sqrt n\, \|v\|_\infty$ and the layer's own bound in each; a change
  of norm between a layer measured in one and a layer measured in the other costs a $\sqrt n$ so.

So the whole model's error is the sum, over its recurrent layers, of $\lambda^k R$ times the
constants of all that follows. How $R$, $\lambda$ and $L$ come about:

| layer | norm | $\lambda$ | $L$ | $R$ |
|---|---|---|---|---|
| SimpleRNN, StableRNN | 2 | $L_\rho \lVert U \rVert_2$ | $L_\rho \lVert W \rVert_2$ | $b\sqrt H$ if $\lvert\rho\rvert \le b$, or $\lVert\rho(xW + b)\rVert / (1 - \lambda)$ |
| LSTM, StableLSTM, GRU | sup | of r steps: $T^r(\mathbf 1)$ | $T(0, 1)$ | 1 for h, $1 / (1 - f_\infty)$ for c |
| LRU, ComplexRNN | 2 | $\max \lvert\lambda_j\rvert$ | $\lVert\gamma B\rVert$ | $\lVert\gamma B x\rVert / (1 - \lambda)$ |
| LinearRNN | 2 | $\lVert A \rVert$ | $\lVert B \rVert$ | $\lVert B \rVert \lVert x \rVert / (1 - \lambda)$ |

The gated layers and the LRU are followed entry by entry, which is never worse; see
`rnnzoo.layers._gains` for $T$. Everything is computed in float64 from the weights present and
rounded up. What the bound does not cover: an initial state other than zero (one inside the layer's
set leaves it valid from step k on, one outside voids it), training mode, and the rounding of the
models' own arithmetic (about 1e-6 of the values in float32), which comes on top.

Source: Miller & Hardt, *Stable Recurrent Models* (ICLR 2019), Lemma 1 and Theorem 1; the chain
through several layers is derived here.
"""  # noqa: E501

from __future__ import annotations

import math
from collections.abc import Iterable

import keras

from rnnzoo import _checks
from rnnzoo.certificates import _measure, _rewrite
from rnnzoo.certificates._conclusions import LONGEST, layer_certificate, problem_of, shortest
from rnnzoo.certificates._recurrent import analysis
from rnnzoo.certificates._report import Certificate, Verification
from rnnzoo.certificates._signals import NoBound, Norms
from rnnzoo.certificates._walk import Walk


def contraction(layer: keras.layers.Layer, input_bound: float | None = None) -> float | None:
    r"""An upper bound of the gain of one unmasked step of a recurrent layer.

    $$\|\phi(s, x) - \phi(s', x)\| \le \lambda \|s - s'\|$$

    in the 2-norm for SimpleRNN and the LRU, in the sup-norm of $(h, c)$ or $h$ for LSTM and GRU on
    the set that their states cannot leave, in float64, rounded up. Plain Keras layers usually have
    no bound below 1.

    Args:
        layer: A built StableRNN, StableLSTM, LRU (or another layer with a method `contraction`), or
            `keras.layers.SimpleRNN`, `LSTM` or `GRU`, the last two with their default activations.
        input_bound: None, or a positive number: a bound on the size of each input feature, which
            limits the forget gate. Without it the bound of a plain LSTM is infinity.

    Returns:
        A float; 1 or more where nothing is promised.

    Raises:
        ValueError: For a layer for which no bound is derived, or that is not built.

    >>> import keras
    >>> layer = keras.layers.SimpleRNN(4, recurrent_initializer="identity")
    >>> layer.build([None, None, 2])
    >>> round(contraction(layer), 6)
    1.0
    """
    own = getattr(layer, "contraction", None)
    if callable(own):
        return own(input_bound=input_bound)
    bound = _bound(input_bound)
    size = Norms(math.inf, math.inf) if bound is None else Norms(bound, math.inf)
    try:
        if not isinstance(layer, keras.layers.RNN):
            raise NoBound("it is no recurrent layer")
        return analysis(layer, size).contraction
    except NoBound as reason:
        raise ValueError(
            f"`layer` must be a recurrent layer with a known bound: {reason}. "
            f"Received: layer={layer!r}"
        ) from None


def certify(
    model: keras.Model, epsilon: float | None = None, input_bound: float | None = None
) -> Certificate:
    r"""State how fast a model forgets, and the truncation length that follows.

    $$\|y_t - y^k_t\|_\infty \le \varepsilon \quad\text{for every input and every } t$$

    with $y$ the model's outputs and $y^k$ those of `truncate(model, k)`. The derivation stands at
    the top of this module.

    Args:
        model: A Functional or built Sequential model. Certified are SimpleRNN, LSTM, GRU,
            StableRNN, StableLSTM, LRU and LinearRNN, and between them layers with a known Lipschitz
            constant on each time step (Dense, activations, normalization at inference, sums,
            products, concatenation ...). Before the first recurrent layer any layer may stand.
        epsilon: None, or a positive number: the error that k is to keep to.
        input_bound: None, or a positive number: a bound on the size of each input feature. The
            certificates of LSTM, GRU and the linear layers, and of activations without bound,
            need it; StableLSTM clips its inputs and does without, and so does StableRNN with tanh.

    Returns:
        A `Certificate`: `layers`, `k`, `bound(k)`, `problem`, `to_dict()`; `print` shows a table. A
        model without a certificate gets one that says so, naming the layer and its bound.

    k counts unmasked steps. An initial state outside the set of a layer voids the certificate.

    Raises:
        ValueError, TypeError: For a model whose graph is not known or that has no recurrent layer,
            for arguments out of range, and for an epsilon that needs an `input_bound`.

    Source: Miller & Hardt, *Stable Recurrent Models* (ICLR 2019), Lemma 1.

    >>> import keras
    >>> from rnnzoo.layers import StableRNN
    >>> rnn = StableRNN(4, contraction=0.5, return_sequences=True)
    >>> model = keras.Sequential([keras.Input([None, 3]), rnn])
    >>> certify(model, epsilon=0.01).k
    8
    """
    epsilon = None if epsilon is None else _checks.real("epsilon", epsilon, 0.0, low_open=True)
    input_bound = _bound(input_bound)
    walk = Walk(model, input_bound)
    if not any(step.lemma or step.reason for step in walk.steps):
        raise ValueError(
            "`model` must have a recurrent layer. "
            f"Received: {type(model).__name__} {model.name!r}, which has none"
        )
    problem, unknown_input = problem_of(walk, input_bound)
    if unknown_input and epsilon is not None:
        raise ValueError(f"`input_bound` must be given: {problem}. Received: input_bound=None")
    k = None
    if epsilon is not None and problem is None:
        k = shortest(lambda k: max(s.error(k).sup for s in walk.outputs), epsilon)
        if k is None:
            problem = f"the bound stays above epsilon up to k = {LONGEST}"
    layers = tuple(layer_certificate(step, epsilon) for step in walk.steps)
    return Certificate(model.name, layers, epsilon, input_bound, k, problem, tuple(walk.outputs))


def truncate(
    model: keras.Model,
    k: int | None = None,
    epsilon: float | None = None,
    input_bound: float | None = None,
) -> keras.Model:
    """The feed-forward model of Theorem 1: every output sees the last k steps alone.

    Args:
        model: A Functional or built Sequential model.
        k: Integer of at least 1, the number of steps; or None, and
        epsilon: a positive number: k is then the one that `certify` gives for it.
        input_bound: As in `certify`; for `epsilon` alone.

    Returns:
        A model of the same inputs, outputs and layer names, in which each recurrent layer stands in
        a `TruncatedWrapper(mode="window")`. **The weights are shared with `model`, not copied**:
        training the one trains the other. `keras.models.clone_model` and `set_weights` make it
        independent. In a stack of n layers an output sees n (k - 1) + 1 steps of the input.

    Raises:
        ValueError, TypeError: Unless exactly one of `k` and `epsilon` is given; for a model that
            has no certificate, with the layer that has none; for one whose graph is not known, that
            gives a recurrent layer an initial state, or hides one inside another layer
            (`Bidirectional`).

    Source: Miller & Hardt, *Stable Recurrent Models* (ICLR 2019), Theorem 1.

    >>> import keras, numpy as np
    >>> from rnnzoo.layers import StableRNN
    >>> rnn = StableRNN(4, contraction=0.5, return_sequences=True)
    >>> model = keras.Sequential([keras.Input([None, 3]), rnn])
    >>> feed_forward = truncate(model, epsilon=0.01)
    >>> x = np.ones([2, 20, 3], "float32")
    >>> bool(np.abs(feed_forward(x) - model(x)).max() <= 0.01)
    True
    """
    if (k is None) == (epsilon is None):
        raise ValueError(
            "Exactly one of `k` and `epsilon` must be given. "
            f"Received: k={k!r}, epsilon={epsilon!r}"
        )
    if epsilon is not None:
        found = certify(model, epsilon, input_bound)
        if found.k is None:
            raise ValueError(
                f"`model` must have a certificate where `epsilon` is given. Received: "
                f"{type(model).__name__} {model.name!r}, which has none: {found.problem}"
            )
        k = found.k
    elif input_bound is not None:
        raise ValueError(
            f"`input_bound` must be None where `k` is given. Received: input_bound={input_bound!r}"
        )
    return _rewrite.truncated(model, k)


def verify(
    truncated: keras.Model, data: Iterable, input_bound: float | None = None
) -> Verification:
    """Measure the error of a truncated model on data, beside its bound.

    Args:
        truncated: A model from `truncate`, also one that was saved and loaded, or trained since:
            the recurrent model is made of the same weights.
        data: An array of inputs, a tuple of arrays or an iterable of batches (a `tf.data.Dataset`),
            of which only the inputs are looked at.
        input_bound: None, or a positive number that no input feature exceeds; None (default): the
            largest that is in the data. Tokens, which an `Embedding` takes, are no features.

    Returns:
        A `Verification`: `worst`, `mean`, `bound`, `ratio`; the bound is infinity for a model
        without one. The measured errors hold the rounding of both models, about 1e-6 of the outputs
        in float32: a bound far below that is seen to hold in float64 alone.

    Raises:
        ValueError, TypeError: For a model that is not truncated, or to several lengths; for data
            that are no batches, not finite, or beyond `input_bound`.

    >>> import keras, numpy as np
    >>> from rnnzoo.layers import LRU
    >>> lru = LRU(4, r_max=0.5, return_sequences=True, seed=1)
    >>> model = keras.Sequential([keras.Input([None, 3]), lru])
    >>> found = verify(truncate(model, k=8), np.ones([2, 30, 3], "float32"))
    >>> found.k, 0.0 < found.worst <= found.bound
    (8, True)
    """
    input_bound = _bound(input_bound)
    k = _measure.length(truncated)
    recurrent = _rewrite.recurrent(truncated)
    worst, mean, largest = _measure.errors(recurrent, truncated, data, input_bound)
    bound = largest if input_bound is None else input_bound
    outputs = Walk(recurrent, bound).outputs
    promised = max(signal.error(k).sup for signal in outputs)
    return Verification(k, worst, mean, promised, bound)


def _bound(value):
    return None if value is None else _checks.real("input_bound", value, 0.0, low_open=True)
