"""Messages of TensorFlow's files and servers."""


def compiled_by_xla(part):
    """Whether a function or node of a SavedModel's graph is one that XLA must compile.

    For refusing a file that a stock server cannot run. Without it the server would refuse it.
    """
    return part.attr["_XlaMustCompile"].b


def saved_model_message():
    """An empty message of the kind that `saved_model.pb` holds.

    For reading what a SavedModel has, without loading it.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    return saved_model_pb2.SavedModel()


def data_type_names():
    """`{number: name}` of TensorFlow's types of data, as messages carry them: `{1: "DT_FLOAT"}`.

    For requests and replies of servers.
    """
    from tensorflow.core.framework import types_pb2

    return dict(zip(types_pb2.DataType.values(), types_pb2.DataType.keys()))
