"""WordWindows: words with their neighbours, embedded."""

import keras


@keras.saving.register_keras_serializable(package="rnnzoo")
class WordWindows(keras.layers.Embedding):
    """The vectors of a word and its neighbours side by side: a context window.

        y_t = [E_{w_{t-W//2}}, ..., E_{w_t}, ..., E_{w_{t+W//2}}]

    Args:
        input_dim, output_dim, **kwargs: as for `keras.layers.Embedding`.

    Shapes: words `[B, T, W]` (integers, W known), outputs `[B, T, W * output_dim]`. The mask is
    False where the middle word is 0, the padding.

    Source: Mesnil et al., *Using Recurrent Neural Networks for Slot Filling in Spoken Language
    Understanding* (2015).

    >>> import numpy as np
    >>> from rnnzoo.layers import WordWindows
    >>> layer = WordWindows(10, 4)
    >>> tuple(layer(np.array([[[0, 5, 7], [5, 7, 0]]])).shape)
    (1, 2, 12)
    """

    acts_on_each_step = True

    def call(self, inputs):
        vectors = super().call(inputs)
        return keras.ops.reshape(vectors, [*keras.ops.shape(vectors)[:2], self._width(inputs)])

    def compute_mask(self, inputs, mask=None):
        return keras.ops.not_equal(inputs[..., inputs.shape[-1] // 2], 0)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:2], input_shape[-1] * self.output_dim)

    def _width(self, inputs):
        return inputs.shape[-1] * self.output_dim
