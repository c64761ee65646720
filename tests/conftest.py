"""Quiet, seeded, two-threaded tests; real data where it is."""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import pathlib

import pytest

from rnnzoo.tasks.originals import _data

_data.CACHE = pathlib.Path("/nowhere")  # what this machine has fetched is no part of the tests
_SHARED = pathlib.Path(__file__).resolve().parents[2] / "shared" / "data"
if "RNNZOO_DATA_DIR" not in os.environ and _SHARED.is_dir():
    os.environ["RNNZOO_DATA_DIR"] = str(_SHARED)


def pytest_collection_finish(session):
    """Keep what was imported out of every later garbage collection, which took half the time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _seeded():
    import keras

    keras.utils.set_random_seed(0)
    yield
    # Without its garbage collection, which took a third of the time: Python's own comes in time.
    keras.backend.clear_session(free_memory=False)


@pytest.fixture
def real_data():
    """`real_data(*sets)`: the folder of original files, or a skip that says what is missing."""

    def holding(*sets):
        folder = os.environ.get("RNNZOO_DATA_DIR")
        if not folder or not pathlib.Path(folder).is_dir():
            pytest.skip("real data needed: set RNNZOO_DATA_DIR to a folder of the original files")
        missing = [name for name in sets if not pathlib.Path(folder, name).is_dir()]
        if missing:
            pytest.skip(f"real data needed: RNNZOO_DATA_DIR has no {', '.join(missing)}")
        return pathlib.Path(folder)

    return holding
