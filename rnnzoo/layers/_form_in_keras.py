"""The form that a layer asks its recurrence for: what Keras's loops have to do with the choice."""

from rnnzoo import _keras
from rnnzoo.recurrences import _forms


def form_in_keras(form, training):
    """One of the forms of `rnnzoo.recurrences._forms`, or `"auto"`, for a call of a layer.

    In training it is what the user gave. At inference a graph may be one that is exported, and
    neither a custom gradient that captures a loop's intermediates nor a compiled function can be
    served: so `"auto"` is the plain loop, and compiled only inside Keras's own evaluate and
    predict. Inside Keras's fit a layer may be called with `training=False` too, and differentiated
    all the same: there a tape is recording, and the choice is that of training.
    """
    form = _forms.current(form)
    if training or form in ("adjoint", "plain"):
        return form
    in_keras = _keras.in_keras_loop()
    if in_keras and _keras.tape_may_record():
        return form
    return "xla_forward" if form == "xla" or in_keras else "plain"
