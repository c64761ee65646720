"""Importing, in a process where nothing of it has been imported yet but keras."""


def after_keras():
    import keras  # noqa: F401

    def run():
        import rnnzoo

        rnnzoo.layers.HDetachLSTM  # noqa: B018

    return run
