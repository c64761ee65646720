"""Wrong calls across the package: each is refused where it is made, and the fault is named."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

import rnnzoo
from rnnzoo import checkpoints, layers, tasks
from rnnzoo.cli import main
from rnnzoo.export import export_model

X = np.ones([2, 4, 3], "float32")


def lstm(**options):
    return keras.layers.LSTM(2, **options)


def sequential(*stack):
    return keras.Sequential([keras.Input((None, 3)), *stack])


def wrap(layer=None, k=3, **options):
    return layers.TruncatedWrapper(layer or lstm(), k, **options)


def called(layer, x=X, **call):
    return layer(tf.constant(x), **call)


# (call, exception, words)
LAYERS = [
    (lambda: layers.HDetachLSTM(0), ValueError, r"`units` .*Received: units=0"),
    (lambda: layers.HDetachLSTM("4"), TypeError, r"`units` .*Received: units='4'"),
    (lambda: layers.HDetachLSTM(2, p=1.1), ValueError, r"`p` .*Received: p=1.1"),
    (lambda: layers.HDetachLSTM(2, p=None), TypeError, r"`p` .*Received: p=None"),
    (lambda: layers.HDetachLSTM(2, detach="hc"), ValueError, r"`detach` .*Received: detach='hc'"),
    (lambda: layers.HDetachLSTM(2, form="fast"), ValueError, r"`form` .*Received: form='fast'"),
    (lambda: layers.HDetachLSTM(2, dropout=1.5), ValueError, r"`dropout` .*dropout=1.5"),
    (lambda: layers.HDetachLSTM(2, 0.25), TypeError, r"p=0.25\. Received: activation=0.25"),
    (lambda: layers.HDetachLSTM(2, unites=2), ValueError, r"unites"),
    (lambda: layers.StableRNN(-1), ValueError, r"`units` .*Received: units=-1"),
    (lambda: layers.StableRNN(2, contraction=1.0), ValueError, r"`contraction` .*contraction=1"),
    (lambda: layers.StableRNN(2, contraction=0), ValueError, r"`contraction` .*contraction=0"),
    (lambda: layers.StableRNN(2, activation="softmax"), ValueError, r"`activation` .*softmax"),
    (lambda: layers.StableRNN(2, dropout=-1), ValueError, r"`dropout` .*Received: dropout=-1"),
    (
        lambda: layers.StableRNN(2, recurrent_constraint="non_neg"),
        ValueError,
        r"`recurrent_constraint` .*non_neg",
    ),
    (lambda: layers.StableRNN(2, 0.9), TypeError, r"contraction=0.9\. Received: activation=0.9"),
    (lambda: layers.StableLSTM(2, forget_bound=0.5), ValueError, r"`forget_bound` .*=0.5"),
    (
        lambda: layers.StableLSTM(2, contraction=0.6, forget_bound=0.64),
        ValueError,
        r"`contraction` .*Received: contraction=0.6, forget_bound=0.64",
    ),
    (lambda: layers.StableLSTM(2, input_bound=0), ValueError, r"`input_bound` .*input_bound=0"),
    (lambda: layers.StableLSTM(2, activation="relu"), ValueError, r"`activation` .*'relu'"),
    (lambda: layers.StableLSTM(2, unit_forget_bias=True), ValueError, r"`unit_forget_bias`"),
    (lambda: layers.StableLSTM(2).contraction(), ValueError, r"built"),
    (lambda: layers.LRU(2.0), TypeError, r"`units` .*Received: units=2.0"),
    (lambda: layers.LRU(2, state_size=0), ValueError, r"`state_size` .*state_size=0"),
    (lambda: layers.LRU(2, parametrization="log"), ValueError, r"`parametrization` .*'log'"),
    (lambda: layers.LRU(2, normalization="batch"), ValueError, r"`normalization` .*'batch'"),
    (lambda: layers.LRU(2, r_min=0.9, r_max=0.5), ValueError, r"`r_m(in|ax)` .*Received"),
    (lambda: layers.LRU(2, r_max=1.5), ValueError, r"`r_max` .*r_max=1.5"),
    (lambda: layers.LRU(2, max_phase=-1), ValueError, r"`max_phase` .*max_phase=-1"),
    (lambda: layers.LRU(2, parametrization="tanh", r_min=0.0), ValueError, r"`r_min`"),
    (lambda: wrap(keras.layers.Dense(2)), (TypeError, ValueError), r"`layer` "),
    (lambda: wrap(k=0), ValueError, r"`k` .*Received: k=0"),
    (lambda: wrap(k=2.5), TypeError, r"`k` .*Received: k=2.5"),
    (lambda: wrap(mode="both"), ValueError, r"`mode` .*Received: mode='both'"),
    (lambda: wrap(lstm(stateful=True)), ValueError, r"stateful"),
    (
        lambda: called(wrap(), initial_state=[tf.ones([2, 2])] * 2),
        ValueError,
        r"`initial_state` .*window",
    ),
    (lambda: called(layers.StableRNN(2), np.ones([2, 4])), ValueError, r"batch, time|ndim=3"),
    (
        lambda: called(layers.StableRNN(2), mask=tf.ones([2, 5], tf.bool)),
        ValueError,
        r"`mask` .*Received: mask.shape=\(2, 5\)",
    ),
    (
        lambda: called(layers.LRU(2), initial_state=[tf.ones([2, 3])] * 2),
        ValueError,
        r"`initial_state` .*Received: \[\(2, 3\), \(2, 3\)\]",
    ),
]
TASKS = [
    (lambda: tasks.get("copi"), ValueError, r"copi"),
    (lambda: tasks.get("copy", delay=0), ValueError, r"`delay` .*Received: delay=0"),
    (lambda: tasks.get("copy", delay="ten"), TypeError, r"`delay` .*'ten'"),
    (lambda: tasks.get("copy", one_hot=1), TypeError, r"`one_hot` .*one_hot=1"),
    (lambda: tasks.get("copy", batch_size=0), ValueError, r"`batch_size` .*batch_size=0"),
    (lambda: tasks.get("copy", seed=-3), ValueError, r"`seed` .*seed=-3"),
    (lambda: tasks.get("copy", train_size=0), ValueError, r"`train_size` .*train_size=0"),
    (lambda: tasks.get("copy", delai=10), (TypeError, ValueError), r"delai"),
    (lambda: tasks.get("adding", length=1), ValueError, r"`length` .*length=1"),
    (lambda: tasks.get("smnist", downsample=3), ValueError, r"`downsample` .*downsample=3"),
    (lambda: tasks.get("copy", delay=3).arrays("dev"), ValueError, r"`split` .*'dev'"),
    (lambda: tasks.get("copy", delay=3).build_model(None), (TypeError, ValueError), r"`layer"),
]
TRAINING = [
    (lambda: rnnzoo.TruncatedBPTT(sequential(lstm()), 0), ValueError, r"`k1` .*Received: k1=0"),
    (lambda: rnnzoo.TruncatedBPTT(sequential(lstm()), 1.5), TypeError, r"`k1` .*k1=1.5"),
    (lambda: rnnzoo.TruncatedBPTT(sequential(lstm()), 5, 3), ValueError, r"`k2` .*k2=3"),
    (lambda: rnnzoo.TruncatedBPTT("model", 5), (TypeError, ValueError), r"`model` "),
    (
        lambda: rnnzoo.TruncatedBPTT(sequential(lstm()), 5, stateful="yes"),
        TypeError,
        r"`stateful` .*'yes'",
    ),
    (lambda: rnnzoo.training.HDetachAnnealing(0), ValueError, r"`last_epochs` .*=0"),
    (
        lambda: rnnzoo.explicit_state(sequential(keras.layers.Bidirectional(lstm()))),
        ValueError,
        r"(?i)bidirectional",
    ),
    (
        lambda: rnnzoo.explicit_state(sequential(lstm(go_backwards=True))),
        ValueError,
        r"go_backwards",
    ),
    (
        lambda: rnnzoo.explicit_state(sequential(keras.layers.Conv1D(2, 2), lstm())),
        ValueError,
        r"(?i)conv1d",
    ),
    (lambda: rnnzoo.explicit_state(sequential(keras.layers.Dense(1))), ValueError, r"`model` "),
    (lambda: rnnzoo.explicit_state(sequential(lstm()), ("x",)), ValueError, r"`time_local` "),
]
FILES = [
    (lambda: rnnzoo.load("nonesuch"), ValueError, r"nonesuch"),
    (lambda: rnnzoo.load(3), (TypeError, ValueError), r"3"),
    (lambda: rnnzoo.presets.evaluate("nonesuch"), ValueError, r"nonesuch"),
    (lambda: checkpoints.load_model("no/such.keras"), checkpoints.CheckpointError, r"such.keras"),
    (lambda: checkpoints.load_model(__file__), checkpoints.CheckpointError, r"test_bad_input"),
    (lambda: export_model("model", "somewhere"), TypeError, r"`model` "),
    (
        lambda: export_model(sequential(lstm()), "x", version=0),
        ValueError,
        r"`version` .*version=0",
    ),
    (
        lambda: export_model(sequential(lstm()), "x", version="1"),
        TypeError,
        r"`version` .*version='1'",
    ),
]
COMMANDS = [
    (["train", "copi", "--out", "x"], r"copi"),
    (["train", "copy"], r"--out"),
    (["train", "copy", "--layer", "ltsm", "--out", "x"], r"ltsm"),
    (["train", "copy", "--epochs", "0", "--out", "x"], r"epochs=0"),
    (["train", "copy", "--set", "delay", "--out", "x"], r"--set"),
    (["train", "copy", "--set", "delay=-1", "--out", "x"], r"delay=-1"),
    (["train", "copy", "--layer-set", "p=3", "--out", "x"], r"p=3"),
    (["train", "copy", "--layer", "lstm", "--p", "0.5", "--out", "x"], r"`p` .*p=0.5"),
    (["evaluate", "nonesuch"], r"nonesuch"),
    (["export", "nonesuch", "x"], r"nonesuch"),
    (["publish"], r"publish"),
    (["make-preset", "nonesuch", "p", "--description", "d"], r"`run` .*nonesuch"),
]


def test_the_table_is_as_long_as_it_says():
    assert sum(map(len, (LAYERS, TASKS, TRAINING, FILES, COMMANDS))) >= 60


@pytest.mark.parametrize(("call", "error", "words"), [*LAYERS, *TASKS, *TRAINING, *FILES])
def test_wrong_call(call, error, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=f"(?s){words}"):
        call()
    assert not list(tmp_path.iterdir()), "a refused call left something behind"


@pytest.mark.parametrize(("arguments", "words"), COMMANDS, ids=lambda v: " ".join(v)[:40])
def test_wrong_command(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert re.search(words, result.output), result.output
    assert not list(tmp_path.iterdir()), "a refused command left something behind"
