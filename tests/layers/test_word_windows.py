"""Word windows: the vectors of neighbours side by side, masked by the word in the middle."""

import numpy as np

from rnnzoo.layers import WordWindows


def test_windows_mask_by_the_middle_word_and_stream():
    layer = WordWindows(10, 4, mask_zero=True)
    x = np.array([[[0, 5, 7], [5, 7, 0], [7, 0, 0]]])
    vectors = layer(x)
    table = layer.embeddings.numpy()
    np.testing.assert_array_equal(vectors[0, 0], np.concatenate(table[[0, 5, 7]]))
    np.testing.assert_array_equal(layer.compute_mask(x), [[True, True, False]])
    assert layer.compute_output_shape((2, None, 3)) == (2, None, 12)
