"""The sizes of `rivals` at each scale, and the published values beside them."""

SOURCE = "Bai, Kolter & Koltun (arXiv:1803.01271), Table 1"


def _published(lstm, gru, simple_rnn, tcn):
    return {"lstm": lstm, "gru": gru, "simple_rnn": simple_rnn, "tcn": tcn}


# The mode is that of the task's validation score, which chooses: recall accuracy on copy.
SCORES = {
    "copy": {
        "metric": "loss",
        "mode": "max",
        "published": _published(0.0204, 0.0197, 0.0202, 3.5e-5),
    },
    "adding": {
        "metric": "loss",
        "mode": "min",
        "published": _published(0.164, 5.3e-5, 0.177, 5.8e-5),
    },
    "jsb": {"metric": "nll", "mode": "min", "published": _published(8.45, 8.43, 8.91, 8.10)},
    "nottingham": {"metric": "nll", "mode": "min", "published": _published(3.29, 3.46, 4.05, 3.07)},
    "ptb_char": {
        "metric": "bits_per_character",
        "mode": "min",
        "published": _published(1.36, 1.37, 1.48, 1.31),
    },
    "smnist": {
        "metric": "accuracy",
        "mode": "max",
        "published": _published(0.872, 0.962, 0.215, 0.990),
    },
}
PUBLISHED = [
    {"task": task, "metric": score["metric"], "layer": layer, "value": value}
    | {"source": SOURCE, "confidence": "seen in the paper"}
    for task, score in SCORES.items()
    for layer, value in score["published"].items()
]
NOTES = [
    "The learning rate of a layer is the one of the grid with the best validation score, and of "
    "equal scores (an accuracy of 1) that of least validation loss; so is its best epoch, whose "
    "test score is shown. Every layer has the same grid, batches and optimizer steps (Adam, the "
    "gradient's global norm clipped to 1), not the same time.",
    "LRU is one layer, or a stack of them, under a linear head, without the nonlinear blocks that "
    "its paper puts between layers: a linear model of the sequence. It cannot solve the adding "
    "problem, which multiplies numbers by markers, whatever its memory.",
    "StableLSTM clips its inputs to [-1, 1], which the embeddings of the text task may exceed.",
    "GatedConv has no dilation; its kernels are as long as its receptive field needs to be to "
    "cover the sequence of copy, adding and smnist, and its width is then small.",
    "The copying task is that of h-detach (one marker before the recall), not the one of the TCN "
    "paper, which marks each of the last steps.",
    "The published accuracy on sequential MNIST is on a test set after training on 60,000 images.",
]


def _convolutions(tcn, gated_conv):
    """Levels and kernel sizes. On copy, adding and smnist they cover the sequence; elsewhere the
    TCN's are the paper's, and cover 13 to 151 steps."""
    return {
        "tcn": {"levels": tcn[0], "kernel_size": tcn[1]},
        "gated_conv": {"levels": gated_conv[0], "kernel_size": gated_conv[1]},
    }


def _task(task, parameters, epochs, layers, differs, depth=1):
    return {
        "task": task,
        "parameters": parameters,
        "epochs": epochs,
        "layers": layers,
        "depth": depth,
        "differs": differs,
    }


_SMOKE = {
    "copy": _task(
        {"delay": 3, "one_hot": True, "train_size": 40, "batch_size": 20}
        | {"validation_size": 20, "test_size": 20},
        2_000,
        1,
        _convolutions((3, 3), (2, 4)),
        "the size is one at which nothing is learned",
    )
}
_SHORT = "no dropout, one recurrent layer, and a training of minutes"
_DESK = {
    "copy": _task(
        {"delay": 50, "one_hot": True, "train_size": 20_000, "batch_size": 50}
        | {"validation_size": 500, "test_size": 1_000},
        16_000,
        15,
        _convolutions((4, 8), (8, 11)),
        "delay 50 instead of 1000, one-hot inputs, one marker; 6,000 steps of batch 50.",
    ),
    "adding": _task(
        {"length": 200, "train_size": 8_000, "batch_size": 50}
        | {"validation_size": 500, "test_size": 1_000},
        20_000,
        15,
        _convolutions((5, 8), (8, 26)),
        "200 steps instead of 600, 20,000 parameters instead of 70,000; 2,400 steps of batch 50.",
    ),
    "jsb": _task(
        {},
        300_000,
        60,
        _convolutions((2, 3), (4, 4)),
        f"the data, the score and the size are those of the paper, but {_SHORT}.",
    ),
    "nottingham": _task(
        {"batch_size": 16},
        100_000,
        15,
        _convolutions((4, 6), (6, 16)),
        f"100,000 parameters instead of 1,000,000; {_SHORT}.",
    ),
    "ptb_char": _task(
        {"evaluation_batch_size": 40},
        100_000,
        1,
        _convolutions((3, 3), (4, 4)),
        f"100,000 parameters instead of 3,000,000 and one pass over the text; {_SHORT}.",
    ),
    "smnist": _task(
        {"downsample": 2, "batch_size": 50},
        16_000,
        2,
        _convolutions((5, 7), (8, 26)),
        "196 steps (pixels averaged in squares of two by two) instead of 784, 16,000 parameters "
        "instead of 70,000, 50,000 training images and two passes over them.",
    ),
}
_PAPER = {
    "copy": _task(
        {"delay": 1000, "train_size": 100_000, "batch_size": 32}
        | {"validation_size": 1_000, "test_size": 1_000},
        16_000,
        10,
        {
            "tcn": {"levels": 8, "kernel_size": 8},
            "gated_conv": {"levels": 8, "kernel_size": 129, "bottleneck": 2},
            "stable_lstm": {"input_bound": 9.0},
        },
        "one marker; the optimizer, and the number of steps, are chosen here.",
    ),
    "adding": _task(
        {"length": 600, "batch_size": 32}, 70_000, 20, _convolutions((8, 8), (8, 76)), ""
    ),
    "jsb": _task(
        {},
        300_000,
        100,
        _convolutions((2, 3), (4, 4)),
        "no dropout; batches of 8.",
        depth=2,
    ),
    "nottingham": _task(
        {}, 1_000_000, 100, _convolutions((4, 6), (6, 16)), "no dropout; batches of 8.", depth=2
    ),
    "ptb_char": _task({}, 3_000_000, 50, _convolutions((3, 3), (4, 4)), "no dropout.", depth=2),
    "smnist": _task(
        {"batch_size": 64},
        70_000,
        20,
        _convolutions((8, 7), (8, 99)),
        "trained on 50,000 images, Adam for every layer.",
    ),
}
SCALES = {
    "smoke": {"seeds": [0], "learning_rates": [3e-3], "tasks": _SMOKE},
    "desk": {"seeds": [0], "learning_rates": [1e-3, 3e-3, 1e-2], "tasks": _DESK},
    "paper": {"seeds": [0, 1, 2], "learning_rates": [5e-4, 1e-3, 2e-3, 5e-3], "tasks": _PAPER},
}
