"""What is served: whole sequences from a SavedModel without XLA, and single steps in process.

The targets ("must", "aim") are those the project set itself for two cores and float32.
"""

from benchmarks._session import Peer, Side

TITLE = "Exported models and single steps"


def measure(session):
    size = {"units": 128, "batch": 100, "steps": 784, "features": 10}
    if session.quick:
        size.update(batch=32, steps=100)
    torch = Side("torch.nn.LSTM", "with_torch:infer", {"kind": "lstm", **size})
    session.compare(
        "exported SavedModel, B={batch}, T={steps}, H={units}".format(**size),
        Side("rnnzoo", "with_rnnzoo:exported", size),
        [Peer(torch, must=0.85, aim=0.6)],
    )
    size = {"units": 128, "features": 10}
    eager = Peer(Side("an eager Keras call", "with_keras:eager_step", size), must=0.1, aim=0.02)
    ways = {
        "step signature of the SavedModel": "step_signature",
        "explicit_state(model).step in a tf.function": "explicit_step",
    }
    for label, function in ways.items():
        session.compare(
            f"{label}, B=1, H=128", Side("rnnzoo", f"with_rnnzoo:{function}", size), [eager]
        )
