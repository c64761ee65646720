"""The floors of ARCHITECTURE.md, read from the imports; and what importing the package costs."""

import ast
import pathlib
import re
import subprocess
import sys

import pytest

import rnnzoo

ROOT = pathlib.Path(rnnzoo.__file__).parent
# From the ground up; a new room must be put on a floor here, and a file imports from its own floor
# or lower ones.
FLOORS = (
    {"_checks", "_figures", "_files", "_keras", "_machine"},
    {"activations", "initializers", "recurrences"},
    {"layers", "metrics"},
    {"checkpoints", "graphs", "models", "zoo"},
    {"streaming"},
    {"certificates", "diagnostics", "tasks"},
    {"training"},
    {"presets", "serving"},
    {"export"},
    {"experiments"},
    {"cli"},
    {"__main__"},
)
MOST_ROOMS = 24


def floor(module):
    room = module.split(".")[1]
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def modules():
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name != "rnnzoo":
            yield name, path


def imports(path):
    """Every rnnzoo module that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            longer = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if is_module(name) else node.module for name in longer]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # What is imported by its name: "rnnzoo.layers:LRU", "rnnzoo.experiments.rivals".
            found = re.fullmatch(r"(rnnzoo(?:\.\w+)+)(?::\w+)?", node.value)
            names = [found[1]] if found and is_module(found[1]) else []
        else:
            continue
        yield from (name for name in names if name.startswith("rnnzoo."))


def is_module(name):
    path = ROOT.parent / name.replace(".", "/")
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def test_the_rooms_are_those_of_the_floors():
    rooms = {p.stem for p in ROOT.iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()}
    rooms -= {"__init__"}
    assert rooms <= set().union(*FLOORS)
    assert len(rooms - {"__main__"}) <= MOST_ROOMS


def test_no_file_has_a_twin_of_the_same_name_with_an_underscore():
    for _, path in modules():
        if path.name.startswith("_") and path.name != "__init__.py":
            public = path.with_name(path.name.lstrip("_"))
            assert not public.exists()
            assert not public.with_suffix("").is_dir()


def test_no_file_is_longer_than_one_idea_takes():
    long = {module for module, path in modules() if len(path.read_text().splitlines()) > 300}
    assert not long


@pytest.mark.parametrize(("module", "path"), list(modules()), ids=lambda v: str(v).split("/")[-1])
def test_a_file_imports_from_its_own_or_lower_floors(module, path):
    above = {n for n in imports(path) if floor(n) > floor(module)}
    assert not above, f"{module}, on floor {floor(module)}, imports {above}"


def test_there_are_no_cycles():
    names = dict(modules())
    graph = {}
    for name, path in names.items():
        found = set()
        for target in imports(path):
            found.add(target)
        graph[name] = found - {name}
    done, path = set(), []

    def visit(name):
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            path.append(name)
            for target in sorted(graph[name]):
                visit(target)
            done.add(path.pop())

    for name in names:
        visit(name)


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent
    ).stdout.strip()


def test_importing_the_package_imports_nothing_heavy():
    heavy = "{'tensorflow', 'keras', 'matplotlib', 'tensorflow_datasets', 'rich'}"
    assert run(f"import sys, rnnzoo; print(sorted({heavy} & set(sys.modules)))") == "[]"


def test_layers_are_registered_at_once_where_keras_is_there():
    code = (
        "import keras, rnnzoo; "
        "print(keras.saving.get_registered_object('rnnzoo>HDetachLSTM').__name__, "
        "keras.saving.get_registered_object('rnnzoo>TruncatedBPTT').__name__)"
    )
    assert run(code) == "HDetachLSTM TruncatedBPTT"


def test_another_backend_is_refused_by_name():
    code = """
import keras
keras.backend.backend = lambda: "jax"  # as where it is installed and chosen
try:
    import rnnzoo
except ImportError as error:
    print(error)
"""
    words = "rnnzoo needs Keras's TensorFlow backend .* Received: KERAS_BACKEND='jax'"
    assert re.search(words, run(code))


def test_public_names_all_resolve():
    for name in rnnzoo.__all__:
        assert getattr(rnnzoo, name) is not None
    with pytest.raises(AttributeError, match="module 'rnnzoo' has no attribute 'nonsense'"):
        _ = rnnzoo.nonsense


def test_top_level_links_point_into_the_package():
    for name in ("layers", "tasks", "saved_models"):
        link = ROOT.parent / name
        assert link.is_symlink()
        assert link.resolve() == ROOT / name
