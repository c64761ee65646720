"""LanguageModel: embedding, recurrent layers and a softmax over the vocabulary."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from rnnzoo import _checks
from rnnzoo.layers.adaptive_softmax import AdaptiveSoftmax
from rnnzoo.models import _stack

SOFTMAXES = ("full", "adaptive")
HIDDEN = "hidden"


def LanguageModel(
    layer: keras.layers.Layer | Sequence[keras.layers.Layer],
    vocabulary_size: int,
    *,
    embedding_size: int | None = None,
    tied: bool = False,
    dropout: float | Sequence[float] = 0.0,
    softmax: str = "full",
    cutoffs: Sequence[int] | None = None,
    name: str = "language_model",
) -> keras.Model:
    r"""A Functional model that predicts each next token from those before it.

    $$e_t = E_{x_t},\qquad h_{1:T} = M(D_1 e_{1:T}),\qquad
      p(y_t \mid x_{1:t}) = \mathrm{softmax}(W D_3 h_t + b)$$

    with dropouts D between all parts (D_2 between recurrent layers). With `tied=True`, W is the
    embedding and there is no bias; where the widths differ, a matrix without bias stands between.

    Args:
        layer: a Keras recurrent layer, one of ours, or a list of these to stack. Their
            `return_sequences` are set to True.
        vocabulary_size: the number of tokens, at least 2.
        embedding_size: the width of the embedding; None (default): that of the first layer's
            outputs.
        tied: whether the softmax shares its matrix with the embedding.
        dropout: a rate in [0, 1), or three: of the embeddings, between the recurrent layers, and
            of the outputs.
        softmax: "full" (default): the model `x -> logits`. "adaptive": for a large vocabulary
            numbered by falling frequency, the model `{"tokens": x, "targets": y} -> ln p(y)`,
            whose cost is that of the frequent words; `next_token_model` makes the model
            `x -> ln p` with the same layers.
        cutoffs: where the clusters of the adaptive softmax begin, see `AdaptiveSoftmax`; None
            (default): at a sixteenth and a quarter of the vocabulary.
        name: the model's name.

    Returns:
        A `keras.Model`. It can be fitted, wrapped in `TruncatedBPTT(stateful=True)`, given to
        `explicit_state`, and saved.

    Shapes and dtypes: x and y `[B, T]` integers; logits `[B, T, vocabulary_size]`, ln p(y)
    `[B, T]`, float32 under mixed precision. Embedding, softmax: uniform in +-0.1, bias 0.

    Raises:
        TypeError: where `layer` is no recurrent layer.
        ValueError: for a layer that reads the sequence from its end too, since that tells the
            next token; for `tied=True` with the adaptive softmax; for `cutoffs` without it.

    Sources: the word language model of the PyTorch examples; Press & Wolf, *Using the Output
    Embedding to Improve Language Models* (2017); Grave et al. (2017).

    >>> import keras
    >>> from rnnzoo.models import LanguageModel
    >>> model = LanguageModel(keras.layers.LSTM(8), 100, tied=True)
    >>> model.output_shape, model.count_params()  # 100 * 8, and 4 * (8 + 8 + 1) * 8 of the LSTM
    ((None, None, 100), 1344)
    """
    recurrent = _forward_layers(layer)
    _checks.integer("vocabulary_size", vocabulary_size, 2)
    _checks.boolean("tied", tied)
    _check_softmax(softmax, tied, cutoffs)
    rates = _rates(dropout)
    width = _width(recurrent[0]) if embedding_size is None else embedding_size
    width = _checks.integer("embedding_size", width)
    embedding = _embedding(vocabulary_size, width, tied)
    tokens = keras.Input(shape=(None,), dtype="int32", name="tokens")
    hidden = _dropped(embedding(tokens), rates[0], "embedding_dropout")
    for number, one in enumerate(recurrent):
        _stack.set_return_sequences(one, True)
        if number:
            hidden = _dropped(hidden, rates[1], f"dropout_{number}")
        hidden = one(hidden)
    if tied and hidden.shape[-1] != width:
        hidden = keras.layers.Dense(width, use_bias=False, name="projection")(hidden)
    hidden = keras.layers.Dropout(rates[2], name=HIDDEN)(hidden)
    if tied:
        return keras.Model(tokens, embedding(hidden, reverse=True), name=name)
    if softmax == "full":
        return keras.Model(tokens, _dense(vocabulary_size)(hidden), name=name)
    targets = keras.Input(shape=(None,), dtype="int32", name="targets")
    head = AdaptiveSoftmax(vocabulary_size, _cutoffs(cutoffs, vocabulary_size), name="softmax")
    inputs = {"tokens": tokens, "targets": targets}
    return keras.Model(inputs, head([hidden, targets]), name=name)


def next_token_model(model: keras.Model) -> keras.Model:
    """The model `x -> logits or ln p over the vocabulary` of a language model, weights shared.

    Args:
        model: made by `LanguageModel`, also after saving and loading. One with a full softmax is
            returned as it is.

    Shapes and dtypes: tokens `[B, T]` integers; logits (full softmax) or ln p (adaptive)
    `[B, T, vocabulary_size]`.

    >>> import keras
    >>> from rnnzoo.models import LanguageModel, next_token_model
    >>> model = LanguageModel(keras.layers.GRU(8), 100, softmax="adaptive")
    >>> next_token_model(model).output_shape
    (None, None, 100)
    """
    heads = [one for one in model.layers if isinstance(one, AdaptiveSoftmax)]
    if not heads:
        return model
    tokens = model.inputs[[tensor.name for tensor in model.inputs].index("tokens")]
    return keras.Model(tokens, heads[0](model.get_layer(HIDDEN).output), name=f"{model.name}_next")


def _forward_layers(layer):
    layers = _stack.recurrent_layers(layer)
    for one in layers:
        inner = getattr(one, "layer", one)
        both = isinstance(one, keras.layers.Bidirectional)
        if both or getattr(inner, "go_backwards", False):
            raise ValueError(
                f"`layer` must read the sequence forward only: {type(one).__name__} {one.name} "
                "reads it from its end and so sees the token that it has to predict. "
                f"Received: layer={one!r}"
            )
    return layers


def _check_softmax(softmax, tied, cutoffs):
    _checks.choice("softmax", softmax, SOFTMAXES)
    if softmax == "adaptive" and tied:
        raise ValueError(
            "`tied` must be False with the adaptive softmax, whose matrices have several widths. "
            "Received: tied=True, softmax='adaptive'"
        )
    if softmax != "adaptive" and cutoffs is not None:
        raise ValueError(
            "`cutoffs` must be None without the adaptive softmax. "
            f"Received: cutoffs={cutoffs!r}, softmax={softmax!r}"
        )


def _rates(dropout):
    given = dropout if isinstance(dropout, (list, tuple)) else [dropout] * 3
    if len(given) != 3:
        raise ValueError(
            "`dropout` must be a rate or three rates (embeddings, between layers, outputs). "
            f"Received: dropout={dropout!r}"
        )
    return [_checks.real("dropout", rate, 0.0, 1.0, high_open=True) for rate in given]


def _width(layer):
    return layer.compute_output_shape((None, None, 1))[-1]


def _cutoffs(cutoffs, size):
    return sorted({max(1, size // 16), max(1, size // 4)}) if cutoffs is None else cutoffs


def _uniform():
    return keras.initializers.RandomUniform(-0.1, 0.1)


def _embedding(size, width, tied):
    options = {"embeddings_initializer": _uniform(), "name": "embedding"}
    if tied:
        return keras.layers.ReversibleEmbedding(size, width, reverse_dtype=_exact(), **options)
    return keras.layers.Embedding(size, width, **options)


def _dense(size):
    return keras.layers.Dense(size, kernel_initializer=_uniform(), dtype=_exact(), name="softmax")


def _exact():
    """Logits in half precision would cost the loss its accuracy."""
    return keras.config.dtype_policy().variable_dtype


def _dropped(tensor, rate, name):
    return keras.layers.Dropout(rate, name=name)(tensor) if rate else tensor
