"""What Keras says where a file of weights has a layer's twin in the place of the layer."""

import re

from rnnzoo import _keras


class HintsAtTwin:
    """Mixin, before the Keras class of the same weights: the error names what reads the file.

    Keras finds a layer of a model in a file by the name of its class, so its own `load_weights`
    finds nothing of a twin. A subclass sets `twin_file_name`, Keras's name for the twin in files.
    """

    twin_file_name = None

    def load_own_variables(self, store):
        missing = _keras.missing_in_file(store)
        if missing is not None:
            path, beside = missing
            if any(re.fullmatch(rf"{self.twin_file_name}(_\d+)?", name) for name in beside):
                raise ValueError(
                    f"The file has no {path}, but layers called {self.twin_file_name!r}, which "
                    "have the same weights: rnnzoo.load_weights(model, path) reads them."
                )
        super().load_own_variables(store)
