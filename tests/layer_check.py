"""The check that every layer of the zoo passes, whatever it computes."""

import inspect
import json

import keras
import numpy as np
import tensorflow as tf

B, T, F = 2, 5, 3


def run_layer_check(cls, arguments, tmp_path):
    """Config, saving, shapes, dtypes, contexts, `fit`, mixed precision, streams and export."""
    _config_is_complete(cls, arguments)
    _symbolic_and_eager_agree(cls, arguments)
    _graph_and_xla_agree(cls, arguments)
    _fits_saves_and_loads(cls, arguments, tmp_path)
    _keeps_float32_weights_in_mixed_precision(cls, arguments)
    _chunks_equal_one_pass(cls, arguments)
    _exports_with_dynamic_batch_and_time(cls, arguments, tmp_path)


def _inputs(batch=B, steps=T):
    return np.random.default_rng(1).uniform(-1, 1, size=(batch, steps, F)).astype("float32")


def _built(cls, arguments, **more):
    layer = cls(**arguments, **more)
    layer.build([None, None, F])
    return layer


def _config_is_complete(cls, arguments):
    layer = cls(**arguments)
    config = json.loads(json.dumps(layer.get_config()))
    parameters = inspect.signature(cls.__init__).parameters.values()
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    names = {p.name for p in parameters if p.kind not in kinds} - {"self"}
    assert names <= set(config), f"get_config omits {names - set(config)}"
    again = cls.from_config(layer.get_config())
    assert json.loads(json.dumps(again.get_config())) == config


def _symbolic_and_eager_agree(cls, arguments):
    for more in ({}, {"return_sequences": True}, {"return_state": True}):
        layer = cls(**arguments, **more)
        symbolic = tf.nest.flatten(layer(keras.Input((None, F), batch_size=B)))
        eager = tf.nest.flatten(layer(_inputs()))
        predicted = layer.compute_output_shape((B, T, F))
        predicted = predicted if more.get("return_state") else [predicted]
        for s, e, p in zip(symbolic, eager, predicted, strict=True):
            assert s.dtype == keras.backend.standardize_dtype(e.dtype)
            assert tuple(e.shape) == tuple(p)
            assert all(a is None or a == b for a, b in zip(s.shape, e.shape))


def _graph_and_xla_agree(cls, arguments):
    layer, x = _built(cls, arguments, return_sequences=True), tf.constant(_inputs())
    mask = tf.constant(np.random.default_rng(2).random((B, T)) > 0.4)
    eager = layer(x, mask=mask)
    for jit in (False, True):
        compiled = tf.function(lambda x, m: layer(x, mask=m), jit_compile=jit, autograph=False)
        np.testing.assert_allclose(compiled(x, mask), eager, atol=2e-6)


def _fits_saves_and_loads(cls, arguments, tmp_path):
    layer = cls(**arguments)
    model = keras.Sequential([keras.Input((None, F)), layer, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    before = [w.copy() for w in model.get_weights()]
    model.fit(_inputs(), np.ones([B, 1], "float32"), verbose=0)
    after = model.get_weights()
    assert all(np.isfinite(w).all() for w in after)
    moved = sum(np.abs(a - b).max() > 0 for a, b in zip(after, before))
    assert moved >= (3 if layer.weights else 2)  # the Dense layer's two, and one of the layer's own
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        loaded.predict(_inputs(), verbose=0), model.predict(_inputs(), verbose=0), atol=1e-7
    )
    model.save_weights(tmp_path / "only.weights.h5")
    fresh = keras.models.clone_model(model)
    fresh.load_weights(tmp_path / "only.weights.h5")
    for a, b in zip(fresh.get_weights(), after, strict=True):
        np.testing.assert_array_equal(a, b)


def _keeps_float32_weights_in_mixed_precision(cls, arguments):
    for policy in ("mixed_float16", "mixed_bfloat16"):
        layer = cls(**arguments, dtype=policy)
        output = layer(_inputs(), training=True)
        assert output.dtype == policy.removeprefix("mixed_")
        assert all(w.dtype == "float32" for w in layer.weights)
        assert np.isfinite(tf.cast(output, tf.float32)).all()


def _chunks_equal_one_pass(cls, arguments):
    layer, x = _built(cls, arguments, return_sequences=True, return_state=True), _inputs()
    whole, *last = layer(x)
    first, *state = layer(x[:, :2])
    second, *end = layer(x[:, 2:], initial_state=state)
    np.testing.assert_allclose(tf.concat([first, second], 1), whole, atol=2e-6)
    for a, b in zip(end, last, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)


def _exports_with_dynamic_batch_and_time(cls, arguments, tmp_path):
    both = keras.layers.Bidirectional(cls(**arguments, return_sequences=True), merge_mode="ave")
    layers = [both, cls(**arguments)]
    model = keras.Sequential([keras.Input((None, F)), *layers])
    model.export(tmp_path / "exported", verbose=False)
    served = tf.saved_model.load(tmp_path / "exported")
    for batch, steps in [(1, 1), (3, 7)]:
        x = _inputs(batch, steps)
        np.testing.assert_allclose(served.serve(x), model(x), atol=2e-6)
