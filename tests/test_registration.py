"""What may stand in a file is registered once keras is there, however and whenever it comes.

In fresh processes, and where it is enough with a small package in the place of keras.
"""

import json
import os
import pathlib
import subprocess
import sys

import pytest

import rnnzoo

ROOT = pathlib.Path(rnnzoo.__file__).parents[1]
BEGIN = """
import importlib, importlib.util, json, sys, threading
import rnnzoo
finders = lambda: [type(f).__name__ for f in sys.meta_path].count("_WhenKerasComes")
"""
END = """
registered = sum(name.startswith("rnnzoo>") for name in keras.saving.get_custom_objects())
print(json.dumps({"registered": registered, "finders": finders(), **told}))
"""


def run(code, path=ROOT, **environment):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BEGIN + code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{path}{os.pathsep}{ROOT}", **environment},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def real_run(code, **environment):
    return run(code + END, **environment)


@pytest.fixture
def everything():
    import keras

    return sum(name.startswith("rnnzoo>") for name in keras.saving.get_custom_objects())


def test_by_name_after_a_search_and_loaded_again(everything):
    """A search for keras is no import, a module that is run again adds nothing."""
    code = """
spec = importlib.util.find_spec("keras")
told = {"searched": spec.origin.endswith("__init__.py"), "before": "keras" in sys.modules}
importlib.reload(rnnzoo)
told["again"] = finders()
keras = importlib.import_module("keras")
told["after"] = finders()
told["loader"] = type(keras.__spec__.loader).__name__
told["source"] = keras.__loader__ is keras.__spec__.loader
importlib.reload(rnnzoo)
importlib.reload(keras)
"""
    assert real_run(code) == {
        "searched": True,
        "before": False,
        "again": 1,
        "after": 0,
        "loader": "SourceFileLoader",
        "source": True,
        "registered": everything,
        "finders": 0,
    }


def test_by_threads_that_import_at_once(everything):
    """A module of ours imports keras itself, while other threads import it.

    One of ours, and keras whole: Python itself fails where a thread imports a package that imports
    a module which another thread imports first.
    """
    code = """
errors = []
def work(line):
    try:
        exec(line)
    except BaseException as error:
        errors.append(f"{line}: {error!r}")
lines = [
    "from keras import layers",
    "import rnnzoo.training.truncated_bptt",
    "import keras",
    "import keras",
]
threads = [threading.Thread(target=work, args=(line,)) for line in lines]
for thread in threads: thread.start()
for thread in threads: thread.join(60)
import keras
told = {"errors": errors, "alive": sum(thread.is_alive() for thread in threads)}
"""
    assert real_run(code) == {
        "errors": [],
        "alive": 0,
        "registered": everything,
        "finders": 0,
    }


def test_another_backend_is_left_alone():
    pytest.importorskip("jax", reason="Keras's NumPy backend imports it")
    code = """
import keras
try:
    import rnnzoo.layers
except ImportError as error:
    told = {"said": "KERAS_BACKEND='numpy'" in str(error)}
told["layers"] = "rnnzoo.layers.lru" in sys.modules
"""
    found = real_run(code, KERAS_BACKEND="numpy")
    assert found == {"said": True, "layers": False, "registered": 0, "finders": 0}


@pytest.fixture
def stand_in(tmp_path):
    """A folder with a `keras` that imports in no time; it fails while FAILS is set."""
    folder = tmp_path / "keras"
    folder.mkdir()
    (folder / "backend.py").write_text("backend = lambda: 'tensorflow'")
    (folder / "__init__.py").write_text(
        "import os\nif os.environ.get('FAILS'): raise ImportError('not now')\n"
        "from keras import backend\n"
    )
    return tmp_path


COUNTED = """
import os
calls = []
rnnzoo._register = lambda: calls.append("rnnzoo.zoo" in sys.modules)
"""


def test_an_import_that_fails_may_be_tried_again(stand_in):
    code = """
os.environ["FAILS"] = "1"
try:
    import keras
except ImportError as error:
    told = [str(error), finders(), list(calls)]
del os.environ["FAILS"]
import keras
print(json.dumps([*told, finders(), calls]))
"""
    assert run(COUNTED + code, stand_in) == ["not now", 1, [], 0, [False]]


def test_without_keras_nothing_is_changed(stand_in):
    (stand_in / "keras" / "__init__.py").write_text("raise ModuleNotFoundError('no keras')")
    code = """
try:
    import keras
except ModuleNotFoundError as error:
    told = str(error)
import json.tool, rnnzoo.zoo
print(json.dumps([told, finders(), calls, rnnzoo.zoo.__spec__.loader is rnnzoo.zoo.__loader__]))
"""
    assert run(COUNTED + code, stand_in) == ["no keras", 1, [], True]


def test_a_module_of_ours_that_brings_keras_is_whole_before_the_rest_comes(stand_in):
    """Also where it fails: keras is there, and files are to open."""
    code = """
class Source:
    def find_spec(self, name, path=None, target=None):
        if name == "rnnzoo.brings":
            return importlib.util.spec_from_loader(name, self)
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        import keras
        told.append(list(calls))
        if "FAILS" in globals():
            raise RuntimeError("after all")
told = []
sys.meta_path.append(Source())
"""
    again = "import rnnzoo.brings\nprint(json.dumps([told, finders(), calls]))\n"
    assert run(COUNTED + code + again, stand_in) == [[[]], 0, [False]]
    failing = """
FAILS = True
try:
    import rnnzoo.brings
except RuntimeError as error:
    told.append(str(error))
print(json.dumps([told, finders(), calls]))
"""
    assert run(COUNTED + code + failing, stand_in) == [[[], "after all"], 0, [False]]


def test_a_thread_that_comes_while_another_registers(stand_in):
    """It is not made to wait for the end of `import keras`, which waits for its module."""
    code = """
import time
class Source:
    def find_spec(self, name, path=None, target=None):
        if name == "rnnzoo.brings":
            return importlib.util.spec_from_loader(name, self)
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        entered.set()
        from keras import backend
        module.name = backend.backend()
sys.meta_path.append(Source())
registering, entered, told = threading.Event(), threading.Event(), []
def register():
    registering.set()
    entered.wait(10)
    time.sleep(0.2)  # in which the other thread comes to `from keras import backend`
    from rnnzoo.brings import name
    told.append(name)
rnnzoo._register = register
def first():
    import keras
def second():
    registering.wait(10)
    import rnnzoo.brings
def work(function):
    try:
        function()
    except BaseException as error:
        told.append(repr(error))
threads = [threading.Thread(target=work, args=(one,), daemon=True) for one in (first, second)]
for thread in threads: thread.start()
for thread in threads: thread.join(20)
print(json.dumps([told, finders(), sum(thread.is_alive() for thread in threads)]))
"""
    assert run(code, stand_in) == [["tensorflow"], 0, 0]
