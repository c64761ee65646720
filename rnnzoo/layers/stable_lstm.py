"""StableLSTM: an LSTM whose step is a contraction in the sup-norm."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rnnzoo import _checks
from rnnzoo.layers._gains import TINY, LSTMGain
from rnnzoo.layers._recurrent import (
    Activation,
    Recurrent,
    cell_loop,
    full_precision,
    named_by,
    refuse_number,
    shared,
)
from rnnzoo.layers._stable import stored_weights
from rnnzoo.layers._stable_lstm_cell import AS_GIVEN, OWN, StableLSTMCell
from rnnzoo.recurrences.lstm import lstm


@keras.saving.register_keras_serializable(package="rnnzoo")
class StableLSTM(Recurrent, keras.layers.LSTM):
    r"""An LSTM whose weights are kept so small that every step contracts (h, c) in the sup-norm.

    $$i, f, o = \sigma(\bar x_t W_{ifo} + h_{t-1} U_{ifo} + b_{ifo}),\quad
      g = \tanh(\bar x_t W_g + h_{t-1} U_g + b_g)$$
    $$c_t = f \odot c_{t-1} + i \odot g,\qquad h_t = o \odot \tanh(c_t)$$

    with $\bar x$ the input clipped to $[-B_x, B_x]$, $B_x$ = `input_bound`: **inputs beyond the
    bound are clipped**, and get no gradient there; scale the data to it. Dropout acts after the
    clipping, so in training it lets inputs pass the bound by its factor; the bounds below are
    those of inference.

    **Derivation.** Let $F$ = `forget_bound`, $\lambda$ = `contraction`, $\|\cdot\|$ the sup-norm,
    $u_i, u_f, u_g, u_o$ the largest l1 norms of the columns of each gate's recurrent weights
    (columns, because Keras multiplies `h @ kernel`), so that $h U_f$ moves by at most
    $u_f \|\Delta h\|$.

    *The forget gate.* For $|h| \le 1$ its pre-activation is at most $u_f + w_f B_x + \max b_f$,
    with $w_f$ the largest l1 norm of its input columns. Of $\operatorname{logit} F$ the three get
    0.2, 0.4 and 0.4, hence $f \le F$. The bias is bounded above only: a gate
    that forgets more breaks nothing.

    *The set* $|h| \le 1$, $|c| \le C = 1/(1-F)$ is invariant: $|c_t| \le F C + 1 = C$,
    $|h_t| < 1$. It is convex, so the largest row sum of the step's Jacobian bounds its gain.

    *A lemma.* For $i, g \in [0, 1]$: $\;i(1-i)g\,a + i(1-g^2)\,b \le \max(a/4, b)$. With
    $m = \max(a/4, b)$ it is at most $m\,i\,[4(1-i)g + 1 - g^2]$; the bracket is largest at
    $g = \min(1, 2(1-i))$, giving $i(1+4(1-i)^2) = 1 - (1-i)(2i-1)^2 \le 1$ for $i \ge 1/2$ and
    $4i(1-i) \le 1$ below.

    *The cell.* The row of $c_t$ sums to at most
    $f + C f(1-f)\,u_f + i(1-i)|g|\,u_i + i(1-g^2)\,u_g$, by the lemma at most
    $G = \sup_{f \le F} f\,(1 + C(1-f)u_f) + \max(u_i/4, u_g)$, and the supremum is at $f = F$, with
    the value $F(1 + u_f)$, where $u_f \le (1-F)/(2F-1)$.

    *The output.* The row of $h_t$ sums to at most $o(1-o)|\tanh c_t|\,u_o + o(1-\tanh^2 c_t)\,G
    \le \max(u_o/4, G)$, by the lemma again.

    So the gain is at most $\max(G, u_o/4)$, and at most $\lambda$ with the budgets
    $u_f \le \min(0.2\operatorname{logit}F,\ (\lambda-F)/4F)$, $r = \lambda - F(1 + u_f)$,
    $u_g \le r$, $u_i \le 4r$, $u_o \le 4\lambda$. The conditions of the paper,
    $u_i, u_o < 1-F$, $u_g \le (1-F)/4$, $u_f < (1-F)^2$, bound the same terms one by one; the
    lemma leaves the gates more room at the same gain. Biases and input weights of the other gates
    are free.

    Each column is projected onto its l1 ball, each forget bias onto its interval, from `build` on
    and after every optimizer step. Weights loaded or set by hand are taken as they are, and
    `contraction()` says what they give.

    By position the arguments are those of `keras.layers.LSTM`; those of this layer's own are given
    by name.

    Args:
        units: Positive integer, the size `H` of h and c.
        activation, ..., use_cudnn: As in `keras.layers.LSTM`, in its order. Refused:
            `kernel_constraint`, `recurrent_constraint`, `bias_constraint`,
            `unit_forget_bias=True`, activations other than tanh and sigmoid. `unroll=True` needs a
            known number of steps, as there, and changes nothing else: the recurrence chooses its
            own unrolling. `use_cudnn` changes nothing, because cuDNN cannot clip the inputs: the
            layer runs its own loop.
        contraction: The bound $\lambda$, in (`forget_bound`, 1).
        forget_bound: The bound $F$ on the forget gate, in (0.5, `contraction`).
        input_bound: The bound $B_x$ on the size of each input feature, positive.
        form: `"auto"`, `"xla"`, `"adjoint"` or `"plain"` (see `rnnzoo.recurrences`); take
            `"plain"` for second derivatives. With `recurrent_dropout`, or dropout with
            `implementation=1`, training runs step by step through the cell.
        shards: Number of independent loops over parts of the batch; None (default): one a core,
            where each has work enough.
        **kwargs: `name`, `dtype`, `trainable`, `zero_output_for_mask` and `implementation`, as in
            `keras.layers.LSTM`.

    Inputs `[B, T, F]`, integers and booleans too; outputs `[B, H]`, or `[B, T, H]` with
    `return_sequences`, in the layer's compute dtype; under mixed precision the state arithmetic is
    float32 on the stored weights. States `[h, c]`, each `[B, H]`. Weights are those of
    `keras.layers.LSTM`, in the same order. Masks, `initial_state`, `stateful` and `go_backwards`
    are Keras's own; a masked step carries the state and contracts nothing. An `initial_state`
    outside the set voids the bound.

    `fit` does not compile the layer with XLA (`supports_jit` is False): XLA drops the check that
    stops training when a weight is not finite. The call itself works under `jit_compile=True`.

    Raises:
        ValueError, TypeError: For an argument out of its range or of the wrong type, and for a
            share of the budget that would be empty. `InvalidArgumentError` from an optimizer step
            that leaves the weights not finite.

    Source: Miller & Hardt, *Stable Recurrent Models* (ICLR 2019), section 2 and its conditions on
    the LSTM; the one-step bound is derived here.

    Example:

    >>> import numpy as np
    >>> layer = StableLSTM(4, contraction=0.9)
    >>> layer(np.ones([2, 3, 5], "float32")).shape
    TensorShape([2, 4])
    >>> layer.contraction() <= 0.9
    True
    """

    takes_unroll = True

    def __init__(
        self,
        units: int,
        activation: Activation = "tanh",
        recurrent_activation: Activation = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = False,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        use_cudnn: bool | str = "auto",
        *,
        contraction: float = 0.95,
        forget_bound: float = 0.64,
        input_bound: float = 1.0,
        form: str = "auto",
        shards: int | None = None,
        **kwargs: Any,
    ) -> None:
        of_cell = named_by(StableLSTMCell.__init__, locals()) | shared(kwargs)
        of_cell["implementation"] = kwargs.pop("implementation", 2)
        of_layer = named_by(keras.layers.RNN.__init__, locals()) | kwargs
        refuse_number(activation, "contraction")
        self.check_arguments(units, of_layer)
        _checks.choice("use_cudnn", use_cudnn, ("auto", True, False))
        cell = StableLSTMCell(**of_cell, name="lstm_cell")
        # Past LSTM's constructor, which makes a cell of its own.
        keras.layers.RNN.__init__(self, cell, activity_regularizer=activity_regularizer, **of_layer)
        self.supports_masking = True  # which the next Keras denies its own recurrent layers
        self.input_spec = keras.layers.InputSpec(ndim=3)
        self.use_cudnn = use_cudnn
        self.supports_jit = False
        self._set_form(form, shards)

    @property
    def forget_bound(self):
        """The bound on the forget gate that the constraints hold."""
        return self.cell.forget_bound

    @property
    def input_bound(self):
        """The size at which inputs are clipped."""
        return self.cell.input_bound

    def recur(self, sequences, initial_state, mask, training):
        cell = self.cell
        if training and (cell.recurrent_dropout or (cell.dropout and cell.implementation == 1)):
            return cell_loop(cell, sequences, initial_state, mask, training)
        sequences = cell.clip(sequences)
        if training and cell.dropout:
            dropped = cell.get_dropout_mask(sequences[:, 0])
            sequences *= tf.cast(dropped, sequences.dtype)[:, None]
        outputs, h, c = lstm(
            sequences,
            *initial_state,
            full_precision(cell.kernel),
            full_precision(cell.recurrent_kernel),
            None if cell.bias is None else full_precision(cell.bias),
            mask=mask,
            form=self._form_for(training),
            shards=self.shards,
        )
        return outputs, [h, c]

    def contraction(self, input_bound: float | None = None, steps: int = 1) -> float:
        r"""An upper bound of the gain of `steps` unmasked steps, from the weights, in float64.

        $\|s_{t+r} - s'_{t+r}\|_\infty \le \lambda_r \|s_t - s'_t\|_\infty$ for $s = (h, c)$ in the
        set $|h| \le 1$, $|c| \le$ `carry_bound()` and the same inputs. Weights set by hand may give
        1 or more.

        $\lambda_r = \max_j T^r(\mathbf 1)_j$, where $T$ takes a bound $v$ on $|s_t - s'_t|$, entry
        by entry, to one on $|s_{t+1} - s'_{t+1}|$: by the mean value theorem these are at most
        $|J| v$ with a Jacobian $J$ of the set (it is convex), whose rows the derivation above
        bounds with $u_q$ replaced by $|U_q|^\top v_h$ and the 1 for $\Delta c$ by $v_c$:

        $$T_c(v) = \sup_{f \le F} f\,(v_c + C (1-f) |U_f|^\top v_h)
          + \max(|U_i|^\top v_h / 4,\; |U_g|^\top v_h),\qquad
          T_h(v) = \max(|U_o|^\top v_h / 4,\; T_c(v)).$$

        $T$ is monotone and homogeneous, so $T(\mathbf 1) \le \lambda_1 \mathbf 1$ gives
        $T^r(\mathbf 1) \le \lambda_1^r \mathbf 1$: the bound of r steps is never above the power of
        one step's, and below it where not every unit is at its worst.

        Args:
            input_bound: None or a positive number: a bound on the inputs that is tighter than the
                layer's own. A larger one changes nothing, as inputs are clipped.
            steps: The number `r` of steps, a positive integer.

        Raises:
            ValueError: Before the layer is built, or for weights that are not finite.
        """
        if input_bound is not None:
            input_bound = _checks.real("input_bound", input_bound, 0.0, low_open=True)
        gain, steps = self.gain(input_bound), _checks.integer("steps", steps)
        moved = gain.step(np.ones(2 * self.units))
        with np.errstate(over="ignore", under="ignore"):
            power = np.max(moved) ** steps + TINY
        for _ in range(steps - 1):
            moved = gain.step(moved)
        return float(min(np.max(moved), power))

    def carry_bound(self) -> float:
        r"""The bound on |c| of the set on which `contraction()` holds, $1/(1-f_\infty)$.

        Here $f_\infty$ is `forget_bound`, or what the weights present allow if that is more.
        """
        return float(self.gain().carry[0])

    def gain(self, input_bound: float | None = None) -> LSTMGain:
        """The `LSTMGain` on the set of all inputs, for inputs of at most that size."""
        names = ("kernel", "recurrent_kernel", *(["bias"] if self.use_bias else []))
        weights = stored_weights(self, self.cell, *names)
        weights = [*weights, None] if len(weights) == 2 else weights
        forget = float(np.max(LSTMGain(*weights, self.input_bound).forget))
        room = 1.0 - max(forget, self.forget_bound)
        carry = 1.0 / room if room > 0.0 else float("inf")
        bound = self.input_bound if input_bound is None else min(input_bound, self.input_bound)
        return LSTMGain(*weights, bound, carry)

    def get_config(self):
        own = {name: getattr(self.cell, name) for name in OWN}
        own |= {"use_cudnn": self.use_cudnn, "form": self.form, "shards": self.shards}
        return super().get_config() | AS_GIVEN | own
