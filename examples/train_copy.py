"""Train an HDetachLSTM on the copying task, save it, load it again.

python examples/train_copy.py --delay 20 --epochs 5
"""

import argparse

import keras

import rnnzoo


def main(delay=20, epochs=5, train_size=20_000, units=128, file="copy.keras"):
    task = rnnzoo.tasks.get("copy", delay=delay, one_hot=True, train_size=train_size)
    model = task.build_model(rnnzoo.layers.HDetachLSTM(units, p=0.25))
    model.compile(keras.optimizers.Adam(3e-3), task.loss, metrics=task.metrics)
    model.fit(task.train, validation_data=task.validation, epochs=epochs, shuffle=False)
    model.save(file)
    loaded = keras.models.load_model(file)
    results = loaded.evaluate(task.test, return_dict=True)
    print(f"recall accuracy {results['recall_accuracy']:.3f}, guessing {task.baseline}")
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=5)
    arguments = parser.parse_args()
    main(arguments.delay, arguments.epochs)
