"""torch.nn.LSTM, and the published h-detach loop: an LSTM cell called step by step."""

import os

import torch

from benchmarks.peers import data

torch.set_num_threads(len(os.sched_getaffinity(0)))


class SequenceModel(torch.nn.Module):
    """A recurrent module, then a Linear on each step to the classes."""

    def __init__(self, recurrent, units):
        super().__init__()
        self.recurrent = recurrent
        self.dense = torch.nn.Linear(units, data.CLASSES)

    def forward(self, x):
        return self.dense(self.recurrent(x)[0])


class HDetachLoop(torch.nn.Module):
    """An LSTM as the h-detach authors' code has it: a Python loop over a cell of two linear maps.

    With probability `p`, one draw a step for the whole batch, h is detached as it enters the step.
    """

    def __init__(self, features, units, p):
        super().__init__()
        self.from_input = torch.nn.Linear(features, 4 * units)
        self.from_state = torch.nn.Linear(units, 4 * units)
        self.units, self.p = units, p

    def forward(self, x):
        h = c = x.new_zeros(len(x), self.units)
        detach = (torch.rand(x.shape[1]) < self.p).tolist()
        outputs = []
        for t in range(x.shape[1]):
            if self.training and detach[t]:
                h = h.detach()
            i, f, g, o = (self.from_input(x[:, t]) + self.from_state(h)).chunk(4, dim=1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs, dim=1), (h, c)


def model_of(kind, features, units, p=0.0):
    if kind == "lstm":
        recurrent = torch.nn.LSTM(features, units, batch_first=True)
    else:
        recurrent = HDetachLoop(features, units, p)
    return SequenceModel(recurrent, units)


def set_keras_weights(recurrent, kernel, recurrent_kernel, bias):
    """The weights of a `keras.layers.LSTM`, whose gates stand in the same order."""
    from_input, from_state, *biases = recurrent.parameters()
    if isinstance(recurrent, HDetachLoop):
        from_input, biases[0], from_state, biases[1] = recurrent.parameters()
    with torch.no_grad():
        from_input.copy_(torch.as_tensor(kernel).T)
        from_state.copy_(torch.as_tensor(recurrent_kernel).T)
        biases[0].copy_(torch.as_tensor(bias))
        biases[1].zero_()


def train(kind, units, batch, steps, features, p=0.0, device="cpu"):
    """Forward, backward, Adam, and the loss as a number."""
    model = model_of(kind, features, units, p).to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    x = torch.as_tensor(data.sequences(batch, steps, features), device=device)
    y = torch.as_tensor(data.labels(batch, steps), device=device)

    def run():
        optimizer.zero_grad(set_to_none=True)
        logits = model(x)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten())
        loss.backward()
        optimizer.step()
        return loss.item()

    return run


def infer(kind, units, batch, steps, features, device="cpu"):
    model = model_of(kind, features, units).to(device).eval()
    x = torch.as_tensor(data.sequences(batch, steps, features), device=device)

    @torch.inference_mode()
    def run():
        return model(x).cpu().numpy()

    return run
