"""Files of weights, read under other names than Keras's."""


def saved_parts(model):
    """`[(path, name, {key: variable})]`: what Keras writes to a file of weights, in its order.

    For reading files whose paths differ in the names of classes. Without it `load_weights` could
    not tell which layer a path belongs to.
    """
    from keras.src.saving import saving_lib

    parts = []

    class Recorder(saving_lib.H5IOStore):
        def __init__(self):
            pass

        def __bool__(self):
            return True

        def make(self, path, metadata=None):
            parts.append((path, (metadata or {}).get("name"), {}))
            return parts[-1][-1]

    saving_lib._save_state(model, Recorder(), None, inner_path="", visited_saveables=set())
    return parts


def load_renamed(model, file, names):
    """Load a file of weights as Keras does, with `names[path]` read in the place of a path.

    For the same files. Returns the errors of the parts that could not be loaded.
    """
    from keras.src.saving import saving_lib

    class Renamed(saving_lib.H5IOStore):
        def get(self, path):
            return super().get(names.get(path, path))

        def has_path(self, path):
            return super().has_path(names.get(path, path))

    errors, store = {}, Renamed(str(file), mode="r")
    try:
        saving_lib._load_state(
            model,
            store,
            None,
            inner_path="",
            visited_saveables=set(),
            failed_saveables=set(),
            error_msgs=errors,
        )
    finally:
        store.close()
    return [error for _, error in errors.values()]


def missing_in_file(store):
    """`(path, names beside it)` where a file of weights lacks the part that is read, else None.

    For an error that says what reads a twin's file. Without it the error is Keras's own.
    """
    path, file = getattr(store, "_h5_entry_path", None), getattr(store, "h5_file", None)
    parent = (path or "").rpartition("/")[0]
    if not path or file is None or path in file or parent not in file:
        return None
    return path, list(file[parent])
