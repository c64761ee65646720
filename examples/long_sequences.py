"""Train on long sequences in strides, then run the model on a stream that never ends.

python examples/long_sequences.py
"""

import keras
import numpy as np

import rnnzoo


def main(steps=5_000, k1=100, epochs=2):
    """The target is the running mean of the input, forgotten over about 100 steps."""
    x = np.random.default_rng(0).normal(size=[8, steps, 1]).astype("float32")
    y = np.zeros_like(x)
    for t in range(1, steps):
        y[:, t] = 0.99 * y[:, t - 1] + 0.1 * x[:, t]

    layer = rnnzoo.layers.LRU(16, r_min=0.9, r_max=0.999, max_phase=0.1, return_sequences=True)
    model = keras.Sequential([keras.Input((None, 1)), layer, keras.layers.Dense(1)])
    trainer = rnnzoo.TruncatedBPTT(model, k1=k1)
    trainer.compile(keras.optimizers.Adam(1e-2), "mse")
    history = trainer.fit(x, y, batch_size=8, epochs=epochs)

    stream = rnnzoo.explicit_state(model)
    state, pieces = stream.initial_state(8), []
    for begin in range(0, steps, 1_000):
        piece, state = stream(x[:, begin : begin + 1_000], state)
        pieces.append(piece)
    difference = np.abs(np.concatenate(pieces, axis=1) - model.predict(x, verbose=0)).max()
    print(f"mean squared error {history.history['loss'][-1]:.4f} of {y.var():.4f}")
    print(f"streamed against whole: largest difference {difference:.1e}")
    print(f"states approach each other by {layer.contraction():.4f} a step at least")
    return history.history["loss"], float(difference)


if __name__ == "__main__":
    main()
