"""Warm-up records: requests that TensorFlow Serving runs before it offers a model.

The server reads ``assets.extra/tf_serving_warmup_requests``, a TFRecord file of `PredictionLog`
messages. Their classes come with `tensorflow-serving-api`, which only servers and clients need;
every field used here is a length-delimited one, so that the wire format takes a few lines.
"""

import pathlib

WARMUP_FILE = pathlib.PurePath("assets.extra", "tf_serving_warmup_requests")

# Field numbers in tensorflow_serving/apis: prediction_log, predict, model and protobuf's map entry.
_PREDICT_LOG, _REQUEST = 6, 1
_MODEL_SPEC, _INPUTS = 1, 2
_MODEL_NAME, _SIGNATURE_NAME = 1, 3
_KEY, _VALUE = 1, 2


def write_warmup(folder, model_name, requests):
    """Write the warm-up file of an exported model.

    Args:
        folder: the version's folder, with the SavedModel in it.
        model_name: the name that the model is served under.
        requests: list of `(signature name, {input name: array})`.
    """
    import tensorflow as tf

    file = pathlib.Path(folder) / WARMUP_FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for signature, inputs in requests:
            writer.write(prediction_log(model_name, signature, inputs))


def prediction_log(model_name, signature, inputs):
    """A serialized `PredictionLog` that holds one `PredictRequest`."""
    import tensorflow as tf

    spec = _field(_MODEL_NAME, model_name.encode()) + _field(_SIGNATURE_NAME, signature.encode())
    request = _field(_MODEL_SPEC, spec)
    for name, value in inputs.items():
        tensor = tf.make_tensor_proto(value).SerializeToString()
        request += _field(_INPUTS, _field(_KEY, name.encode()) + _field(_VALUE, tensor))
    return _field(_PREDICT_LOG, _field(_REQUEST, request))


def _field(number, payload):
    """A length-delimited field: a string, bytes or a message."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(value):
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
