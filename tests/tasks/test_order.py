"""Batches: how many, in which order, the same again after a resume, and new at every epoch."""

import time

import numpy as np
import pytest
import tensorflow as tf

from rnnzoo import tasks

SIZES = {"train_size": 230, "validation_size": 45, "test_size": 30}


@pytest.fixture
def task():
    return tasks.get("copy", delay=3, batch_size=20, seed=5, **SIZES)


def one_pass(dataset):
    batches = [(x.numpy(), y.numpy()) for x, y in dataset]
    return tuple(np.concatenate(part) for part in zip(*batches))


def rows(array):
    return sorted(row.tobytes() for row in array)


def test_cardinality_and_the_last_batch(task):
    for split, count, last in (("train", 12, 10), ("validation", 3, 5), ("test", 2, 10)):
        dataset = getattr(task, split)
        assert int(dataset.cardinality()) == count
        sizes = [len(y) for _, y in dataset]
        assert sizes == [20] * (count - 1) + [last]
        assert task.size(split) == sum(sizes)


def test_every_epoch_is_another_permutation_of_the_same_pairs(task):
    x, y = task.arrays("train")
    passes = [one_pass(task.train) for _ in range(3)]
    assert task.epoch == 3
    joined = rows(np.concatenate([x[..., 0], y], axis=1))
    for px, py in passes:
        assert rows(np.concatenate([px[..., 0], py], axis=1)) == joined
        assert (py != y).any()
    assert (passes[0][1] != passes[1][1]).any()
    assert (passes[1][1] != passes[2][1]).any()


def test_setting_the_epoch_resumes_the_order(task):
    passes = [one_pass(task.train)[1] for _ in range(4)]
    fresh = tasks.get(**task.get_config())
    assert fresh.epoch == 0
    fresh.epoch = 2
    np.testing.assert_array_equal(one_pass(fresh.train)[1], passes[2])
    np.testing.assert_array_equal(one_pass(fresh.train)[1], passes[3])
    assert fresh.epoch == 4
    fresh.epoch = 0
    np.testing.assert_array_equal(one_pass(fresh.train)[1], passes[0])


def test_a_pass_left_early_does_not_count(task):
    whole = one_pass(task.train)[1]
    task.epoch = 0
    first = next(iter(task.train))[1]
    iterator = iter(task.train)
    eleven = [next(iterator)[1].numpy() for _ in range(11)]
    time.sleep(0.2)  # the last batch is prepared meanwhile, and must not count before it is taken
    assert task.epoch == 0
    np.testing.assert_array_equal(first, whole[:20])
    np.testing.assert_array_equal(np.concatenate(eleven), whole[:220])
    next(iterator)
    assert task.epoch == 1


def test_fit_sees_the_orders_of_epochs_0_1_2(task):
    import keras

    expected = [one_pass(task.train)[1] for _ in range(3)]
    task.epoch = 0
    seen = []

    class Seen(keras.Model):
        def train_step(self, data):
            tf.numpy_function(lambda y: seen.append(y.copy()) or np.int32(0), [data[1]], tf.int32)
            return {"loss": tf.constant(0.0)}

    inputs = keras.Input((None, 1))
    model = Seen(inputs, inputs)
    model.compile("sgd", "mse", jit_compile=False)
    history = model.fit(task.train, epochs=3, shuffle=False, verbose=0)
    assert len(history.epoch) == 3
    assert task.epoch == 3
    np.testing.assert_array_equal(np.concatenate(seen[-36:]), np.concatenate(expected))


def test_one_iterator_over_repeated_passes_gives_the_passes_of_many(task):
    expected = [one_pass(task.train)[1] for _ in range(3)]
    task.epoch = 0
    batches = iter(task.train.repeat())
    passes = []
    for number in range(3):
        passes.append(np.concatenate([next(batches)[1].numpy() for _ in range(12)]))
        assert task.epoch == number + 1
    np.testing.assert_array_equal(passes, expected)
    task.epoch = 1  # between passes it holds for the next one
    again = np.concatenate([next(batches)[1].numpy() for _ in range(12)])
    np.testing.assert_array_equal(again, expected[1])
    assert task.epoch == 2


def test_order_depends_on_the_seed(task):
    other = tasks.get(**{**task.get_config(), "seed": 6})
    assert (one_pass(task.train)[1] != one_pass(other.train)[1]).any()


def test_validation_and_test_keep_their_order(task):
    for split in ("validation", "test"):
        for _ in range(2):
            x, y = one_pass(getattr(task, split))
            np.testing.assert_array_equal(x, task.arrays(split)[0])
            np.testing.assert_array_equal(y, task.arrays(split)[1])
    assert task.epoch == 0


@pytest.mark.parametrize("name", ["copy", "adding"])
def test_data_are_a_function_of_the_seed(name):
    options = {"copy": {"delay": 3}, "adding": {"length": 12}}[name]
    a, b, c = (tasks.get(name, seed=s, **options, **SIZES) for s in (1, 1, 2))
    for split in ("train", "validation", "test"):
        for left, right, other in zip(a.arrays(split), b.arrays(split), c.arrays(split)):
            np.testing.assert_array_equal(left, right)
            assert (left != other).any()


@pytest.mark.parametrize("name", ["copy", "adding"])
def test_splits_have_streams_of_their_own(name):
    options = {"copy": {"delay": 3}, "adding": {"length": 12}}[name]
    sizes = {"train_size": 300, "validation_size": 300, "test_size": 300}
    task = tasks.get(name, **options, **sizes)
    seen = [{row.tobytes() for row in task.arrays(s)[0]} for s in ("train", "validation", "test")]
    assert [len(s) for s in seen] == [300, 300, 300]
    assert len(seen[0] | seen[1] | seen[2]) == 900
    shorter = tasks.get(name, **options, **{**sizes, "train_size": 10})
    np.testing.assert_array_equal(shorter.arrays("test")[0], task.arrays("test")[0])


def test_batches_are_the_arrays_dtypes(task):
    (x, y), (ax, ay) = next(iter(task.train)), task.arrays("train")
    assert (x.dtype, y.dtype) == (tf.float32, tf.int32)
    assert (ax.dtype, ay.dtype) == (np.float32, np.int32)
    assert task.train.element_spec[0].shape.as_list() == [None, *task.input_shape]
    assert task.train.element_spec[1].shape.as_list() == [None, 23]
