"""One step of an exported model, by every way there is to it; each measures itself.

Every function returns a call that gives the latencies of its calls in ms (`_summary`).
"""

import threading
import time

import numpy as np

WARM_UP = 20


def _summary(latencies, seconds, rows):
    """What a run of calls with these latencies (in seconds) amounts to."""
    p50, p99 = np.percentile(latencies, [50, 99]) * 1e3
    return {
        "calls": len(latencies),
        "rows": rows,
        "seconds": seconds,
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "calls_per_s": len(latencies) / seconds,
        "steps_per_s": rows * len(latencies) / seconds,
    }


def _timed(step, seconds, ready=lambda: None):
    """The latencies of `step()` for so long, after a warm-up and `ready()`."""
    for _ in range(WARM_UP):
        step()
    ready()
    latencies, begin = [], time.perf_counter()
    while (now := time.perf_counter()) - begin < seconds:
        step()
        latencies.append(time.perf_counter() - now)
    return latencies, time.perf_counter() - begin


def exported(folder, units, features, **options):
    """Write the model that all of these step, and say where."""
    import rnnzoo.export
    from benchmarks.peers import with_rnnzoo

    model = with_rnnzoo.stream_model(units, features)
    return lambda: str(rnnzoo.export.export_model(model, folder, **options))


def in_process(folder, features, rows, seconds):
    """The `step` signature of the SavedModel in Python, its state a TensorFlow tensor."""
    import tensorflow as tf

    loaded = tf.saved_model.load(folder)
    signature = loaded.signatures["step"]
    x = tf.random.normal([rows, features], seed=0)
    state = loaded.signatures["initial_state"](rows=tf.zeros([rows], tf.int32))

    def step():
        y = signature(x=x, **state)
        state.update({name: y[f"next_{name}"] for name in state})
        return y["outputs"].numpy()

    return lambda: _summary(*_timed(step, seconds), rows)


def onnx(folder, units, features, rows, seconds):
    """The step of an ONNX export in ONNX Runtime, NumPy arrays in and out."""
    import onnxruntime

    written = exported(folder, units, features, format="onnx")()
    initial, session = (
        onnxruntime.InferenceSession(f"{written}/{name}.onnx", providers=["CPUExecutionProvider"])
        for name in ("initial_state", "step")
    )
    x = np.random.default_rng(0).normal(size=(rows, features)).astype("float32")
    names = [output.name for output in session.get_outputs()]
    rows_of = {"rows": np.zeros([rows], "int32")}
    state = {o.name: initial.run([o.name], rows_of)[0] for o in initial.get_outputs()}

    def step():
        y = dict(zip(names, session.run(None, {"x": x, **state})))
        state.update({name: y[f"next_{name}"] for name in state})
        return y["outputs"]

    return lambda: _summary(*_timed(step, seconds), rows)


def streams(address, model, features, count, rows, seconds):
    """So many streams at once, a thread each, each waiting for its answer before it goes on."""
    from rnnzoo.serving import Stream

    def run():
        opened = [Stream(address, model, rows=rows, deadline=60) for _ in range(count)]
        measured = _all_at_once([_sender(s, features) for s in opened], seconds)
        for stream in opened:
            stream.close()
        latencies = np.concatenate([latencies for latencies, _ in measured])
        longest = max(taken for _, taken in measured)
        return {"streams": count, **_summary(latencies, longest, rows)}

    return run


def _sender(stream, features):
    x = np.random.default_rng(0).normal(size=(stream.rows, features)).astype("float32")
    return lambda: stream.send(x)


def _all_at_once(steps, seconds):
    """`_timed` of each in a thread of its own."""
    measured, together = [], threading.Barrier(len(steps), timeout=60)
    threads = [
        threading.Thread(
            target=lambda step=step: measured.append(_timed(step, seconds, together.wait))
        )
        for step in steps
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(measured) < len(steps):
        raise RuntimeError(f"{len(steps) - len(measured)} of {len(steps)} streams failed")
    return measured
