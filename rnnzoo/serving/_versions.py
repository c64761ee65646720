"""The versions of a model in its folder: which is the newest, loading it, and its signatures."""

import gc
import logging
import pathlib
import threading

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from rnnzoo import _keras
from rnnzoo.serving import _tensors
from rnnzoo.serving._specs import signatures_of_proto
from rnnzoo.serving.errors import ServingError
from rnnzoo.serving.warmup import WARMUP_FILE

DEFAULT_SIGNATURE = "serving_default"
_MODEL_FILE = "saved_model.pb"
_log = logging.getLogger(__name__)


class Version:
    """A loaded SavedModel.

    Attributes:
        number: of the version.
        definitions: `{name: SignatureDef}`, as written in the file.
        signatures: `{name: Signature}` of the same.
    """

    def __init__(self, folder, number, limit):
        self.number = number
        path = pathlib.Path(folder) / str(number)
        graphs = _keras.saved_model_message().FromString((path / _MODEL_FILE).read_bytes())
        (graph,) = [g for g in graphs.meta_graphs if "serve" in g.meta_info_def.tags]
        self.definitions = dict(graph.signature_def)
        self.signatures = signatures_of_proto(self.definitions)
        self._loaded = tf.saved_model.load(str(path))
        self._limit = limit
        self._warm_up(path / WARMUP_FILE)

    def _warm_up(self, file):
        """Run the records of a model; one that fails stops the version, as on a stock server."""
        if not file.is_file():
            return
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
            request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
            name = request.model_spec.signature_name
            inputs = self.signature(name).inputs
            self.predict(name, _tensors.arrays_of_request(request, inputs, self._limit))

    def signature(self, name):
        name = name or DEFAULT_SIGNATURE
        if name not in self.signatures:
            raise ServingError(
                "FAILED_PRECONDITION",
                f'Serving signature key "{name}" not found. There are: '
                + ", ".join(sorted(self.signatures)),
            )
        return self.signatures[name]

    def predict(self, name, arrays):
        """`{output: array}`; `arrays` have the types and ranks of the signature's inputs."""
        signature = self.signature(name)
        _tensors.check_inputs(arrays, signature.inputs)
        _tensors.check_answer(arrays, signature, self._limit)
        function = self._loaded.signatures[name or DEFAULT_SIGNATURE]
        try:
            found = function(**{key: tf.constant(array) for key, array in arrays.items()})
            return {key: np.asarray(value) for key, value in sorted(found.items())}
        except tf.errors.OpError as error:
            code = _CODES.get(error.error_code, "INTERNAL")
            raise ServingError(code, error.message) from error


_CODES = {
    tf.errors.INVALID_ARGUMENT: "INVALID_ARGUMENT",
    tf.errors.FAILED_PRECONDITION: "FAILED_PRECONDITION",
    tf.errors.OUT_OF_RANGE: "OUT_OF_RANGE",
    tf.errors.RESOURCE_EXHAUSTED: "RESOURCE_EXHAUSTED",
    tf.errors.UNIMPLEMENTED: "UNIMPLEMENTED",
}


class Model:
    """The newest version in a folder that loads, as TensorFlow Serving's default policy has it.

    A version that does not load is reported and left alone until its files change; the one that is
    served stays. A folder that has no version any more leaves the served one in place.
    """

    def __init__(self, folder, limit):
        self.folder = pathlib.Path(folder)
        self.name = self.folder.resolve().name
        self._limit = limit
        self._failed = {}
        self._current = None
        self._changing = threading.Lock()

    def refresh(self):
        """Load what is new; True if the served version changed."""
        with self._changing:
            for number in sorted(self._present(), reverse=True):
                if self._current is not None and number == self._current.number:
                    return False
                stamp = (self.folder / str(number) / _MODEL_FILE).stat().st_mtime_ns
                if self._failed.get(number) != stamp and self._load(number, stamp):
                    return True
            return False

    def _present(self):
        if not self.folder.is_dir():
            return []
        names = [entry.name for entry in self.folder.iterdir() if entry.name.isdecimal()]
        return [int(name) for name in names if (self.folder / name / _MODEL_FILE).is_file()]

    def _load(self, number, stamp):
        try:
            loaded = Version(self.folder, number, self._limit)
        except Exception as error:  # whatever is wrong with a file, the served version stays
            self._failed[number] = stamp
            _log.error("%s version %d does not load: %s", self.name, number, error)
            return False
        self._current = loaded
        _log.info("%s version %d is served", self.name, number)
        gc.collect()  # the graphs of the version before refer to themselves
        return True

    def version(self, number=None):
        """The served version, which must be `number` where that is given."""
        current = self._current
        if current is None or number not in (None, current.number):
            wanted = "Latest" if number is None else "Specific"
            of = self.name if number is None else f"{self.name}, {number}"
            raise ServingError("NOT_FOUND", f"Servable not found for request: {wanted}({of})")
        return current
