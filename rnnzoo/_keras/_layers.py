"""What Keras's layers do for themselves in Keras's own loops."""

import contextlib

import keras


def takes_training(layer):
    """Whether a layer's call has the argument `training`.

    For calling cells, which need not have it. Without it they would run as in inference.
    """
    return layer._call_has_training_arg


def untrack(layer, value):
    """Take a variable or layer out of those that a layer calls its own.

    For twins of a layer that share its weights: counted in both, they would be trained twice.
    """
    layer._tracker.untrack(value)


def make_dropout_masks(layer, cell, inputs, states):
    """Draw the dropout masks that a cell of a recurrent layer uses in all steps of a call.

    For loops over the cell that are not Keras's own. Without it every step of an eager loop would
    share masks with the call before.
    """
    layer._maybe_config_dropout_masks(cell, inputs, states)


def forget_dropout_masks(layer, cell):
    """Forget a cell's dropout masks, at the end of a call.

    For the same loops. Without it the next call would drop the same units again, silently.
    """
    layer._maybe_reset_dropout_masks(cell)


@contextlib.contextmanager
def repeated_dropout_masks(cell, repeat):
    """While this lasts, the dropout masks that a cell has drawn are `repeat(mask)`.

    For a cell that runs over several copies of its batch at once. Without it masks of one copy
    would be drawn anew for all, so that copies of a sequence would drop different units, silently.
    """
    from keras.src.layers.rnn.dropout_rnn_cell import DropoutRNNCell

    kinds = ("dropout", "recurrent_dropout") if isinstance(cell, DropoutRNNCell) else ()
    # Keras's cells get these attributes as they draw; a missing one is an AttributeError here.
    names = [f"_{kind}_mask" for kind in kinds if getattr(cell, kind)]
    held = [(name, getattr(cell, name)) for name in names]
    for name, value in held:
        setattr(cell, name, keras.tree.map_structure(repeat, value))
    try:
        yield
    finally:
        for name, value in held:
            setattr(cell, name, value)


class FullPrecisionStates:
    """Mixin, before `keras.layers.RNN`: a stateful layer keeps its states as they are.

    For states in float32 under mixed precision, which Keras would hand out as half. Without it
    a stateful linear recurrence would lose what it has summed, silently.
    """

    def build(self, sequences_shape, initial_state_shape=None):
        super().build(sequences_shape, initial_state_shape)
        for state in self.states or ():
            if not hasattr(state, "_autocast"):
                raise AttributeError("Keras's variables have no `_autocast` any more")
            state._autocast = False

    @property
    def stateful_batch(self):
        """The batch size that a stateful layer was built for, or None."""
        return None if self.states is None else self.states[0].shape[0]
