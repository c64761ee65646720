"""What the states of a recurrent layer are called, and which of them is its output."""

import keras

_CELLS = keras.layers.LSTMCell, keras.layers.GRUCell, keras.layers.SimpleRNNCell


def state_suffixes(layer):
    """What the states of `layer` are called: the cell may say, in `state_names`."""
    sizes = keras.tree.flatten(layer.state_size)
    given = getattr(layer.cell, "state_names", None)
    if given is not None:
        return list(given)
    if isinstance(layer.cell, _CELLS):
        return ["h", "c"][: len(sizes)]
    return [f"state_{i}" for i in range(len(sizes))]


def output_state(layer):
    """Which of the flat states is the output too, or None."""
    cell, before = layer.cell, 0
    if isinstance(cell, keras.layers.StackedRNNCells):
        cells = [keras.tree.flatten(c.state_size) for c in cell.cells]
        cell, before = cell.cells[-1], sum(len(sizes) for sizes in cells[:-1])
    known = type(cell) in _CELLS or type(cell).__module__.split(".")[0] == "rnnzoo"
    return before if known and isinstance(cell, _CELLS) else None


def state_dtype(layer):
    """A cell whose states are to stay in full precision says so, in `state_dtype`."""
    return getattr(layer.cell, "state_dtype", layer.compute_dtype)


def output_size(layer):
    size = getattr(layer.cell, "output_size", None)
    return keras.tree.flatten(layer.state_size)[0] if size is None else size
