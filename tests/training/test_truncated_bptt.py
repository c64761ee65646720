"""TruncatedBPTT against Keras's own step, and against windows cut by hand."""

import inspect
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnzoo import layers, tasks
from rnnzoo.graphs import keep_masks
from rnnzoo.metrics import RecallAccuracy
from rnnzoo.streaming import explicit_state
from rnnzoo.training import TruncatedBPTT

L = keras.layers
B, T, F, H, C = 4, 10, 3, 5, 2


def data(seed=0, steps=T, batch=B):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(batch, steps, F)).astype("float32")
    return x, rng.normal(size=(batch, steps, C)).astype("float32")


def make(sequences=True, masking=False, layer=L.LSTM, **kwargs):
    front = [L.Masking()] if masking else []
    recurrent = layer(H, return_sequences=sequences, **kwargs)
    keep_masks(recurrent)
    model = keras.Sequential([keras.Input((None, F)), *front, recurrent, L.Dense(C)])
    rng = np.random.default_rng(5)
    for v in model.trainable_variables:
        v.assign(rng.normal(size=v.shape, scale=0.5))
    return model


def fit(model, x, y, optimizer="sgd", loss="mse", epochs=1, **kwargs):
    model.compile(optimizer, loss, metrics=["mae"], weighted_metrics=["mse"])
    return model.fit(x, y, batch_size=B, epochs=epochs, shuffle=False, verbose=0, **kwargs).history


def same_weights(a, b, tolerance=1e-5):
    for v, w in zip(a.get_weights(), b.get_weights()):
        np.testing.assert_allclose(v, w, atol=tolerance, rtol=tolerance)


def by_hand(model, x, y, k1, k2=None, weights=None, rate=0.01):
    """Windows of a plain loop, SGD, the mean squared error of the newest steps."""
    stream, k2 = explicit_state(model), k2 or k1
    start = {0: stream.initial_state(len(x))}  # the state before each step, newest value
    for begin in range(0, x.shape[1], k1):
        end = min(begin + k1, x.shape[1])
        first = max(0, begin - (k2 - k1))
        state = {n: tf.stop_gradient(v) for n, v in start[first].items()}
        with tf.GradientTape() as tape:
            outputs = []
            for t in range(first, end):
                out, state = stream(x[:, t : t + 1], state)
                start[t + 1] = state
                outputs.append(out)
            squares = (tf.concat(outputs, 1)[:, begin - first :] - y[:, begin:end]) ** 2
            w = 1.0 if weights is None else weights[:, begin:end]
            loss = tf.reduce_mean(tf.reduce_mean(squares, -1) * w)
        if weights is not None and not np.any(weights[:, begin:end]):
            continue
        gradients = tape.gradient(loss, model.trainable_variables)
        for v, g in zip(model.trainable_variables, gradients):
            v.assign_sub(rate * g)
    return model


@pytest.mark.parametrize(
    ("case", "optimizer"),
    [("each step", "sgd"), ("each step", "adam"), ("end", "adam"), ("weights", "sgd"),
     ("masking", "adam"), ("penalty", "sgd")],
)  # fmt: skip
def test_one_stride_equals_keras(case, optimizer):
    x, y = data(batch=2 * B)
    extra, options = {}, {"sequences": case != "end", "masking": case == "masking"}
    if case == "end":
        y = y[:, -1]
    if case == "weights":
        extra["sample_weight"] = np.random.default_rng(1).uniform(size=(2 * B, T)).astype("f4")
    if case == "masking":
        x[:, 6:] = 0
        x[0, 2:] = 0
    if case == "penalty":
        options.update(kernel_regularizer="l2", activity_regularizer="l1")
    plain, inner = make(**options), make(**options)
    expected = fit(plain, x, y, optimizer, epochs=2, **extra)
    history = fit(TruncatedBPTT(inner, k1=T), x, y, optimizer, epochs=2, **extra)
    same_weights(inner, plain)
    assert set(history) == set(expected)
    for name in expected:
        np.testing.assert_allclose(history[name], expected[name], rtol=1e-5)


@pytest.mark.parametrize(("k1", "k2"), [(4, None), (3, 5), (2, 7), (5, 10)])
def test_shorter_strides_equal_windows_cut_by_hand(k1, k2):
    x, y = data()
    expected, inner = by_hand(make(), x, y, k1, k2), make()
    trainer = TruncatedBPTT(inner, k1, k2)
    fit(trainer, x, y)
    same_weights(inner, expected)
    assert int(trainer.optimizer.iterations) == -(-T // k1)
    if k1 < T and k2 != T:  # and it is another update than Keras's
        plain = make()
        fit(plain, x, y)
        assert np.abs(plain.get_weights()[0] - inner.get_weights()[0]).max() > 1e-4


@pytest.mark.parametrize("k2", [3, 5])
def test_masks_reach_losses_and_states_in_every_stride(k2):
    x, y = data()
    x[:, 7:] = 0
    x[1, 2:] = 0
    plain, inner, mask = make(masking=True), make(masking=True), np.any(x != 0, -1)
    trainer = TruncatedBPTT(inner, 3, k2)
    history = fit(trainer, x, y, keras.optimizers.SGD(0.0))
    expected = fit(plain, x, y, keras.optimizers.SGD(0.0))
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-5)
    np.testing.assert_allclose(history["mae"], expected["mae"], rtol=1e-5)
    assert int(trainer.optimizer.iterations) == 3
    assert not mask[:, 9:].any()


@pytest.mark.parametrize("k2", [2, 4])
def test_a_stride_of_zero_weights_takes_no_step(k2):
    x, y = data()
    weights = np.random.default_rng(1).uniform(size=(B, T)).astype("float32")
    weights[:, 2:6] = 0
    expected, inner = by_hand(make(), x, y, 2, k2, weights), make()
    trainer = TruncatedBPTT(inner, 2, k2)
    fit(trainer, x, y, sample_weight=weights)
    assert int(trainer.optimizer.iterations) == 3
    same_weights(inner, expected)


@pytest.mark.parametrize("k2", [4, 20])
def test_a_target_at_the_end_is_one_update_on_the_last_steps(k2):
    x, y = data()
    inner, expected = make(sequences=False), make(sequences=False)
    stream = explicit_state(expected)
    cut = max(0, T - k2)
    state = stream.initial_state(B)
    if cut:
        _, state = stream(x[:, :cut], state)
    with tf.GradientTape() as tape:
        out, _ = stream(x[:, cut:], state)
        loss = tf.reduce_mean((out - y[:, -1]) ** 2)
    for v, g in zip(
        expected.trainable_variables, tape.gradient(loss, expected.trainable_variables)
    ):
        v.assign_sub(0.01 * g)
    trainer = TruncatedBPTT(inner, 3, k2)
    history = fit(trainer, x, y[:, -1], sample_weight=np.ones(B))
    assert int(trainer.optimizer.iterations) == 1
    np.testing.assert_allclose(history["loss"][0], loss, rtol=1e-5)
    same_weights(inner, expected)


def test_reported_loss_and_metrics_are_averages_over_time_steps():
    x, y = data()
    frozen = keras.optimizers.SGD(0.0)
    history = fit(TruncatedBPTT(make(), 4), x, y, frozen)  # strides of 4, 4 and 2 steps
    expected = make()
    expected.compile("sgd", "mse", metrics=["mae"])
    loss, mae = expected.evaluate(x, y, verbose=0)
    np.testing.assert_allclose([history["loss"][0], history["mae"][0]], [loss, mae], rtol=1e-5)


def test_metrics_that_are_first_built_inside_a_stride_are_averages_over_steps_too():
    """Of classes: Keras's accuracy counts samples, `RecallAccuracy` what is recalled."""
    task = tasks.get("copy", delay=2, train_size=20, batch_size=10)  # 22 steps: 7, 7, 7 and 1
    trainer = TruncatedBPTT(task.build_model(layers.HDetachLSTM(4)), 7)
    metrics = [keras.metrics.SparseCategoricalAccuracy("accuracy"), RecallAccuracy()]
    trainer.compile(keras.optimizers.SGD(0.0), task.loss, metrics=metrics)
    history = trainer.fit(task.train, verbose=0, shuffle=False).history
    found = trainer.evaluate(task.train, verbose=0, return_dict=True)
    assert 0.01 < found["accuracy"] != found["recall_accuracy"]
    for name, value in found.items():
        np.testing.assert_allclose(history[name][0], value, rtol=1e-5)


def test_state_is_carried_between_batches_until_the_epoch_ends():
    x, y = data(batch=2 * B)
    x[B:], y[B:] = data(seed=9)
    joined = np.concatenate([x[:B], x[B:]], 1), np.concatenate([y[:B], y[B:]], 1)
    inner, whole = make(), make()
    trainer, once = TruncatedBPTT(inner, 5, stateful=True), TruncatedBPTT(whole, 5)
    for _ in range(2):
        fit(once, *joined)
    fit(trainer, x, y, epochs=2)
    same_weights(inner, whole)
    forgetful = make()
    fit(TruncatedBPTT(forgetful, 5), x, y, epochs=2)
    assert np.abs(forgetful.get_weights()[1] - whole.get_weights()[1]).max() > 1e-5


def test_evaluation_leaves_the_carried_state_and_begins_at_zero():
    x, y = data()
    trainer = TruncatedBPTT(make(), 5, stateful=True)
    trainer.compile("sgd", "mse")
    trainer.train_on_batch(x, y)
    carried = {n: v.numpy() for n, v in trainer._carried._variables.items()}
    assert all(v.any() for v in carried.values())
    first = trainer.evaluate(x, y, verbose=0)
    assert first == trainer.evaluate(x, y, verbose=0)
    trainer.predict(x, verbose=0)
    for name, value in carried.items():
        np.testing.assert_array_equal(trainer._carried._variables[name], value)
    trainer.reset_state()
    assert all(v.shape[0] == 0 for v in (w.numpy() for w in trainer._carried._variables.values()))


PENALTIES = {"kernel_regularizer": "l2", "activity_regularizer": "l1"}


@pytest.mark.parametrize("stateful", [False, True])
def test_evaluation_adds_the_penalties_that_keras_adds(stateful):
    x, y = data()
    plain = make(**PENALTIES)
    plain.compile("sgd", "mse")
    without = make()
    without.compile("sgd", "mse")
    expected = plain.evaluate(x, y, verbose=0)
    assert expected > 1.05 * without.evaluate(x, y, verbose=0)
    trainer = TruncatedBPTT(make(**PENALTIES), 5, stateful=stateful)
    for _ in range(2):  # and what the model has computed elsewhere adds nothing
        trainer.compile("sgd", "mse")
        np.testing.assert_allclose(trainer.evaluate(x, y, verbose=0), expected, rtol=1e-6)
        trainer.predict(x, verbose=0)


def test_the_penalty_of_a_window_is_weighted_by_its_steps():
    x, y = data()
    trainer = TruncatedBPTT(make(activity_regularizer=keras.regularizers.L1(1.0)), 4)
    loss = fit(trainer, x, y, keras.optimizers.SGD(0.0))["loss"][0]
    without = fit(TruncatedBPTT(make(), 4), x, y, keras.optimizers.SGD(0.0))["loss"][0]
    hidden = np.abs(make().layers[0](x)).sum(-1).mean(0)  # Keras divides by the rows
    penalty = 4 * hidden[:4].sum() + 4 * hidden[4:8].sum() + 2 * hidden[8:].sum()
    np.testing.assert_allclose(loss - without, penalty / T, rtol=1e-5)


def test_a_loss_of_ones_own_is_that_of_the_data():
    """As Keras's documentation writes them: with the penalties, which the trainer adds itself."""

    class Own(TruncatedBPTT):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return keras.ops.mean((y_pred - y) ** 2) + sum(self.losses)

    x, y = data()
    own, usual = Own(make(**PENALTIES), 4), TruncatedBPTT(make(**PENALTIES), 4)
    histories = [fit(trainer, x, y, validation_data=(x, y)) for trainer in (own, usual)]
    np.testing.assert_allclose(histories[0]["loss"], histories[1]["loss"], rtol=1e-6)
    np.testing.assert_allclose(histories[0]["val_loss"], histories[1]["val_loss"], rtol=1e-6)
    same_weights(own, usual)


def test_a_model_may_learn_from_its_own_losses_alone():
    x, _ = data()
    gru = L.GRU(H, return_sequences=True)
    dense = L.Dense(C, activity_regularizer="l2")
    trainer = TruncatedBPTT(keras.Sequential([keras.Input((None, F)), gru, dense]), 4)
    trainer.compile("adam")
    losses = trainer.fit(x, batch_size=B, epochs=3, verbose=0).history["loss"]
    assert 0 < losses[-1] < losses[0]


def test_callbacks_by_position_and_as_a_list_of_kerass():
    """Each joins the one that forgets the state at an epoch's begin; Keras's order of arguments."""
    names = [list(inspect.signature(c.fit).parameters) for c in (TruncatedBPTT, keras.Model)]
    assert names[0][:7] == names[1][:7]
    x, y = data()
    ends = []
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(epoch))
    trainer = TruncatedBPTT(make(), 5, stateful=True)
    trainer.compile("sgd", "mse")
    for given in (callback, [callback], keras.callbacks.CallbackList([callback], model=trainer)):
        trainer.train_on_batch(x[:3], y[:3])  # another batch size, whose state must be forgotten
        history = trainer.fit(x, y, B, 2, 0, given, 0.0, (x, y))
        assert (history or trainer.history).history["val_loss"]
    assert ends == [0, 1] * 3


def test_eager_steps_take_arrays():
    x, y = data()
    trainers = []
    for eagerly in (False, True):
        trainers.append(TruncatedBPTT(make(), 4))
        trainers[-1].compile("sgd", "mse", run_eagerly=eagerly)
        trainers[-1].train_on_batch(x, y, sample_weight=np.ones((B, T), "float32"))
    same_weights(*trainers)


def test_a_stateful_batch_of_another_size_is_an_error():
    x, y = data()
    trainer = TruncatedBPTT(make(), 5, stateful=True)
    trainer.compile("sgd", "mse")
    trainer.train_on_batch(x, y)
    with pytest.raises(ValueError, match=r"size of the one before.*received: 4, 3"):
        trainer.train_on_batch(x[:3], y[:3])
    trainer.reset_state()
    trainer.train_on_batch(x[:3], y[:3])


def test_a_loss_that_is_not_finite_stops_before_the_weights_change():
    x, y = data()
    y[:, 7] = np.inf
    inner, kept = make(), by_hand(make(), *data(), 5)
    trainer = TruncatedBPTT(inner, 5)
    with pytest.raises(
        FloatingPointError, match=r"optimizer step \(counted from 0\), loss: 1, inf"
    ):
        fit(trainer, x, y)
    expected = by_hand(make(), x[:, :5], y[:, :5], 5)
    same_weights(inner, expected)
    assert np.isfinite(kept.get_weights()[0]).all()


@pytest.mark.parametrize("optimizer", ["rmsprop", "clipped", "loss_scale"])
def test_other_optimizers_integer_targets_and_steps_per_execution(optimizer):
    given = {
        "clipped": lambda: keras.optimizers.Adam(0.01, clipnorm=0.1, use_ema=True),
        "loss_scale": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(), 8.0),
    }.get(optimizer, lambda: optimizer)
    x, y = data(batch=4 * B)
    labels = (y[..., 0] > 0).astype("int32")
    results = []
    for steps in (1, 3):
        trainer = TruncatedBPTT(make(), 4)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        trainer.compile(given(), loss, metrics=["accuracy"], steps_per_execution=steps)
        history = trainer.fit(x, labels, batch_size=B, shuffle=False, verbose=0, epochs=2).history
        results.append((history, trainer))
    (first, one), (second, several) = results
    np.testing.assert_allclose(first["loss"], second["loss"], rtol=1e-5)
    np.testing.assert_allclose(first["accuracy"], second["accuracy"], rtol=1e-5)
    assert int(one.optimizer.iterations) == 2 * 4 * 3
    same_weights(one, several)


def test_eager_batches_of_varying_length_and_validation_data():
    x, y = data()
    batches = tf.data.Dataset.from_generator(
        lambda: ((x[:, :n], y[:, :n]) for n in (10, 3, 7)),
        output_signature=(tf.TensorSpec([None, None, F]), tf.TensorSpec([None, None, C])),
    )
    batches = batches.apply(tf.data.experimental.assert_cardinality(3))
    weights = []
    for eagerly in (False, True):
        trainer = TruncatedBPTT(make(), 4)
        trainer.compile("sgd", "mse", run_eagerly=eagerly)
        validation = {"validation_data": (x, y), "shuffle": False}
        history = trainer.fit(batches, verbose=0, **validation).history
        assert int(trainer.optimizer.iterations) == 3 + 1 + 2
        np.testing.assert_allclose(
            history["val_loss"], np.mean((trainer.model(x) - y) ** 2), rtol=1e-5
        )
        weights.append(trainer)
    same_weights(*weights)


def test_tokens_and_layers_of_the_zoo_in_one_model():
    import rnnzoo.layers as zoo

    layers = [zoo.StableRNN(4), zoo.HDetachLSTM(4, seed=0), zoo.LRU(4)]
    front = [keras.Input((T,), dtype="int32"), L.Embedding(7, 4, mask_zero=True)]
    sequences = [type(v).from_config({**v.get_config(), "return_sequences": True}) for v in layers]
    model = keras.Sequential([*front, *sequences, L.Dense(7, "softmax")])
    ids = np.random.default_rng(0).integers(1, 7, (B, T))
    ids[0, 5:] = 0
    trainer = TruncatedBPTT(model, 4)
    trainer.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    losses = trainer.fit(ids, ids, epochs=15, verbose=0).history["loss"]
    assert losses[-1] < 0.8 * losses[0]
    assert model.layers[1].contraction() <= 0.95


def test_save_and_load_with_the_optimizer(tmp_path):
    x, y = data()
    model = keras.Sequential(
        [
            keras.Input((None, F)),
            L.GRU(H, return_sequences=True),
            L.BatchNormalization(),
            L.Dense(C),
        ]
    )
    trainer = TruncatedBPTT(model, 3, 5, stateful=True, time_local=L.BatchNormalization)
    fit(trainer, x, y, "adam")
    trainer.save(tmp_path / "trainer.keras")
    again = keras.models.load_model(tmp_path / "trainer.keras")
    assert (again.k1, again.k2, again.stateful) == (3, 5, True)
    assert len(again.weights) == len(model.weights)
    np.testing.assert_array_equal(again.predict(x, verbose=0), trainer.predict(x, verbose=0))
    for trained in (trainer, again):
        trained.fit(x, y, batch_size=B, verbose=0)
    same_weights(again, trainer, 1e-7)
    assert again.get_config()["time_local"] == [model.layers[1].name]


def test_wrong_arguments_and_models():
    model = make()
    with pytest.raises(ValueError, match=r"`k2` must be at least `k1`=3. Received: k2=2"):
        TruncatedBPTT(model, 3, 2)
    with pytest.raises(ValueError, match="`k1` must be an integer of at least 1"):
        TruncatedBPTT(model, 0)
    with pytest.raises(TypeError, match="`stateful` must be True or False"):
        TruncatedBPTT(model, 3, stateful=1)
    with pytest.raises(ValueError, match="`jit_compile` must be False"):
        TruncatedBPTT(model, 3).compile("sgd", "mse", jit_compile=True)
    inputs = keras.Input(batch_shape=(B, None, F))
    with pytest.raises(ValueError, match=r"no stateful layers.*\['kept'\]"):
        TruncatedBPTT(keras.Model(inputs, L.GRU(H, stateful=True, name="kept")(inputs)), 3)
    inputs = keras.Input((None, F))
    outputs = [L.GRU(H, return_sequences=s)(inputs) for s in (True, False)]
    with pytest.raises(ValueError, match="outputs that all run over time, or none"):
        TruncatedBPTT(keras.Model(inputs, outputs), 3)


def test_targets_and_weights_without_the_time_of_the_outputs_are_refused():
    x, y = data()
    trainer = TruncatedBPTT(make(), 3)
    with pytest.raises(ValueError, match=r"`y` must have the time axis.*\(4, 2\)"):
        fit(trainer, x, y[:, -1])
    with pytest.raises(ValueError, match=r"`sample_weight` must have the time axis.*\(4, 3\)"):
        fit(trainer, x, y, sample_weight=np.ones((B, 3)))


MEMORY = """
import json, os, sys
import numpy as np, keras
from rnnzoo.training import TruncatedBPTT
T = int(sys.argv[1])
model = keras.Sequential([keras.Input((None, 1)), keras.layers.LSTM(16, return_sequences=True),
                          keras.layers.Dense(1)])
trainer = TruncatedBPTT(model, 100)
trainer.compile("sgd", "mse")
x = np.random.default_rng(0).normal(size=(16, T, 1)).astype("float32")
y = x.copy()
import tensorflow as tf
batch = tf.data.Dataset.from_tensors((tf.constant(x), tf.constant(y)))
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(l for l in lines if l.startswith("VmHWM")).split()[1]) / 1024
before = peak()
trainer.fit(batch, verbose=0)
print(json.dumps(peak() - before))
"""


def test_memory_does_not_grow_with_the_length():
    def added(steps):
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, str(steps)], capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout.splitlines()[-1])

    short, long = added(2_000), added(20_000)
    assert long < 1.1 * short
