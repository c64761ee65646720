"""LanguageModel: its parameters, its tied gradient, and every way it has to work."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import rnnzoo
from rnnzoo.metrics.perplexity import Perplexity, TokenCrossEntropy
from rnnzoo.models.language_model import LanguageModel, next_token_model

V, H = 40, 6
RNG = np.random.default_rng(0)
X, Y = RNG.integers(0, V, (2, 3, 10)).astype("int32")


def lstm(units=H):
    return 4 * (2 * units + 1) * units


PARAMETERS = [
    ({}, V * H + lstm() + H * V + V),
    ({"tied": True}, V * H + lstm()),
    # An embedding of 5: 4 (5 + 6 + 1) 6 of the LSTM, and a projection 6 x 5.
    ({"tied": True, "embedding_size": 5}, V * 5 + 288 + 30),
    ({"dropout": (0.1, 0.2, 0.3)}, V * H + lstm() + H * V + V),
    # Cutoffs 2 and 10: a head of 2 + 2, then 6 -> 1 -> 8 and 6 -> 1 -> 30.
    ({"softmax": "adaptive"}, V * H + lstm() + 7 * 4 + 6 + 8 + 8 + 6 + 30 + 30),
]


@pytest.mark.parametrize(("options", "count"), PARAMETERS)
def test_parameters(options, count):
    assert LanguageModel(keras.layers.LSTM(H), V, **options).count_params() == count


def test_a_stack_with_dropout_between():
    layers = [keras.layers.GRU(5), rnnzoo.layers.LRU(4)]
    model = LanguageModel(layers, V, dropout=0.5, embedding_size=3)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == [
        "InputLayer", "Embedding", "Dropout", "GRU", "Dropout", "LRU", "Dropout", "Dense"
    ]  # fmt: skip
    assert model(X).shape == (3, 10, V)
    np.testing.assert_array_equal(model(X), model(X))
    assert np.abs(model(X, training=True) - model(X)).max() > 1e-3


def test_the_tied_gradient_is_the_sum_of_the_two():
    tied = LanguageModel(keras.layers.LSTM(H), V, tied=True)
    free = LanguageModel(keras.layers.LSTM(H), V)
    table = RNG.normal(size=(V, H)).astype("float32")
    recurrent = next(n for n in tied.layers if isinstance(n, keras.layers.LSTM))
    other = next(n for n in free.layers if isinstance(n, keras.layers.LSTM))
    other.set_weights(recurrent.get_weights())
    tied.get_layer("embedding").set_weights([table])
    free.get_layer("embedding").set_weights([table])
    free.get_layer("softmax").set_weights([table.T, np.zeros(V)])
    np.testing.assert_allclose(tied(X), free(X), atol=1e-6)
    gradients = {}
    for model in (tied, free):
        with tf.GradientTape() as tape:
            nats = keras.ops.sparse_categorical_crossentropy(Y, model(X), from_logits=True)
            loss = tf.reduce_mean(nats)
        found = tape.gradient(loss, model.trainable_variables)
        found = [tf.convert_to_tensor(g).numpy() for g in found]
        gradients[model] = {v.path: g for v, g in zip(model.trainable_variables, found)}
    both = gradients[free]["embedding/embeddings"] + gradients[free]["softmax/kernel"].T
    np.testing.assert_allclose(gradients[tied]["embedding/embeddings"], both, atol=1e-7)
    assert np.abs(gradients[free]["embedding/embeddings"]).max() > 1e-4


KINDS = [{}, {"tied": True}, {"softmax": "adaptive", "cutoffs": [8, 20]}]


def inputs(options, x=X, y=Y):
    return {"tokens": x, "targets": y} if options.get("softmax") == "adaptive" else x


def compiled(model, options):
    outputs = "target_log_probability" if options.get("softmax") == "adaptive" else "logits"
    model.compile("adam", TokenCrossEntropy(outputs), metrics=[Perplexity(outputs)])
    return model


@pytest.mark.parametrize("options", KINDS, ids=["full", "tied", "adaptive"])
def test_two_chunks_are_one_pass(options):
    model = LanguageModel(keras.layers.GRU(H), V, dropout=0.3, **options)
    stream = rnnzoo.explicit_state(model)
    whole = model(inputs(options))
    first, state = stream(inputs(options, X[:, :4], Y[:, :4]), stream.initial_state(3))
    second, _ = stream(inputs(options, X[:, 4:], Y[:, 4:]), state)
    np.testing.assert_allclose(np.concatenate([first, second], 1), whole, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("options", KINDS, ids=["full", "tied", "adaptive"])
def test_fit_truncated_save_and_load(options, tmp_path):
    model = LanguageModel(keras.layers.LSTM(H), V, dropout=0.2, **options)
    x = inputs(options)
    before = compiled(model, options).evaluate(x, Y, verbose=0, return_dict=True)
    assert before["perplexity"] == pytest.approx(np.exp(before["loss"]), rel=1e-5)
    if options.get("softmax") != "adaptive":  # there a cluster begins as likely as a word
        assert before["perplexity"] == pytest.approx(V, rel=0.1)
    model.fit(x, Y, epochs=1, batch_size=3, verbose=0)
    trainer = compiled(rnnzoo.TruncatedBPTT(model, 4, stateful=True), options)
    trainer.optimizer.learning_rate = 0.05
    trainer.fit(x, Y, epochs=12, batch_size=3, shuffle=False, verbose=0)
    after = trainer.evaluate(x, Y, verbose=0, return_dict=True)
    assert after["perplexity"] < 0.7 * before["perplexity"]
    trainer.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.evaluate(x, Y, verbose=0, return_dict=True) == pytest.approx(after)
    # The whole distribution: it adds up to 1, and gives the same perplexity.
    log_p = tf.nn.log_softmax(next_token_model(again.model)(X))
    if options.get("softmax") == "adaptive":
        given = next_token_model(again.model)(X)
        np.testing.assert_allclose(given, log_p, atol=1e-5)
    nats = -np.take_along_axis(log_p.numpy(), Y[..., None], -1)
    assert np.exp(nats.mean()) == pytest.approx(after["perplexity"], rel=1e-5)


def test_logits_are_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        for options in KINDS:
            model = LanguageModel(keras.layers.LSTM(H), V, **options)
            assert model(inputs(options)).dtype == tf.float32
            assert model.get_layer("hidden").compute_dtype == "bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")


BAD = [
    ({"vocabulary_size": 1}, ValueError, "`vocabulary_size` .*vocabulary_size=1"),
    ({"embedding_size": 0}, ValueError, "`embedding_size` .*embedding_size=0"),
    ({"tied": 1}, TypeError, "`tied` must be True or False. Received: tied=1"),
    ({"softmax": "sampled"}, ValueError, "`softmax` must be one of 'full', 'adaptive'. .*sampled"),
    ({"softmax": "adaptive", "tied": True}, ValueError, "`tied` must be False with the adaptive"),
    ({"cutoffs": [3]}, ValueError, r"`cutoffs` must be None without .*cutoffs=\[3\]"),
    ({"dropout": 1.0}, ValueError, r"`dropout` must be a number in \[0, 1\). .*dropout=1.0"),
    ({"dropout": (0.1, 0.2)}, ValueError, r"`dropout` must be a rate or three .*\(0.1, 0.2\)"),
    ({"layer": []}, ValueError, r"`layer` must be a recurrent layer or a list .*layer=\[\]"),
    ({"layer": keras.layers.Dense(2)}, TypeError, "`layer` must be a Keras recurrent layer"),
    (
        {"layer": keras.layers.Bidirectional(keras.layers.LSTM(2))},
        ValueError,
        "`layer` must read the sequence forward only: Bidirectional",
    ),
    ({"layer": keras.layers.GRU(2, go_backwards=True)}, ValueError, "forward only: GRU"),
]


@pytest.mark.parametrize(("options", "error", "words"), BAD)
def test_bad_arguments_are_told(options, error, words):
    with pytest.raises(error, match=words):
        LanguageModel(**{"layer": keras.layers.LSTM(2), "vocabulary_size": V, **options})
