"""Train on Bach's chorales, let the model go on from the beginning of one, and listen to it.

python examples/continue_chorale.py            # writes chorale.mid
"""

import keras
import numpy as np

import rnnzoo
from rnnzoo.tasks.midi import to_midi


def main(epochs=20, begin=16, frames=48, out="chorale.mid", seed=0):
    """The first `begin` frames are those of a chorale of the test set, the others are drawn."""
    keras.utils.set_random_seed(seed)
    task = rnnzoo.tasks.get("jsb", seed=seed)
    model = task.build_model(keras.layers.LSTM(200))
    model.compile(task.optimizer(), task.loss, metrics=task.metrics)
    model.fit(task.train, validation_data=task.validation, epochs=epochs, shuffle=False)

    roll = continued(model, task.pieces("test")[0][:begin], frames, seed)
    path = to_midi(roll, out)
    print(f"{begin} frames of Bach and {frames} of the model: {path}")
    return roll


def continued(model, roll, frames, seed=0):
    """The roll `[T, 88]` and, after it, frames drawn one by one: each is heard before the next."""
    generator = np.random.default_rng(seed)
    stream = rnnzoo.explicit_state(model)
    heard, state = roll[None].astype("float32"), stream.initial_state(1)
    whole = [*roll]
    for _ in range(frames):
        logits, state = stream(heard, state)
        probabilities = keras.ops.convert_to_numpy(keras.ops.sigmoid(logits[0, -1]))
        whole.append(generator.random(88) < probabilities)
        heard = whole[-1][None, None].astype("float32")
    return np.array(whole, np.uint8)


if __name__ == "__main__":
    main()
