"""Masks, which Keras ties to tensors."""


def mask_of(tensor):
    """The mask that Keras has tied to a tensor, or None.

    For losses, metrics and streams, which get tensors and not masks. Without it padding would be
    scored, silently.
    """
    from keras.src.backend import get_keras_mask

    return get_keras_mask(tensor)


def set_mask(tensor, mask):
    """Tie a mask to a tensor, for Keras to find; None takes it off.

    For outputs that are put together from several calls, and for losses that leave out padding as
    Keras's `ignore_class` does. Without it Keras would average over padding, silently.
    """
    from keras.src.backend import set_keras_mask

    set_keras_mask(tensor, mask)
