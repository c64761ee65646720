"""How the benchmarks' files hang together: read from imports and from names in strings."""

import ast
import pathlib
import re

import pytest

import benchmarks

ROOT = pathlib.Path(benchmarks.__file__).parent
MOST_LINES = 300
LIBRARIES = ("torch", "keras", "jax", "tensorflow", "rnnzoo")


def modules():
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


PATHS = dict(modules())


def mentioned(path):
    """`{module: functions of it}`: what a file imports, wherever in it, and what it names.

    Workers get their workload by name: "benchmarks.peers.toy:sleeper", or a `Side`'s
    "toy:sleeper", in which a part may be filled in later.
    """
    found = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [(f"{node.module}.{alias.name}", "") for alias in node.names]
            names += [(node.module, "")]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = named(node.value)
        else:
            continue
        for module, function in names:
            if module in PATHS:
                found.setdefault(module, set()).add(function)
    return found


def named(text):
    if match := re.fullmatch(r"(benchmarks(?:\.\w+)+)(?::(\w*))?", text):
        return [(match[1], match[2] or "")]
    if match := re.fullmatch(r"(\w+):(\w*)", text):
        return [(f"benchmarks.peers.{match[1]}", match[2])]
    return []


def is_a_peer(module):
    return module.startswith("benchmarks.peers.")


def test_the_reading_sees_imports_inside_functions_and_names_in_strings():
    """Otherwise the other tests here would pass whatever stands in the files."""
    assert "benchmarks.serving" in mentioned(PATHS["benchmarks.__main__"])
    assert "benchmarks.peers.with_rnnzoo" in mentioned(PATHS["benchmarks.peers.serving"])
    assert "benchmarks._worker" in mentioned(PATHS["benchmarks._processes"])
    targets = mentioned(PATHS["benchmarks.tbptt"])
    assert {"truncated_bptt", "words"} <= targets["benchmarks.peers.with_rnnzoo"]
    assert "benchmarks.peers.with_torch" in mentioned(PATHS["benchmarks.lstm"])


def test_there_are_no_cycles():
    done, path = set(), []

    def visit(module):
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in done:
            path.append(module)
            for target in sorted(set(mentioned(PATHS[module])) - {module}):
                visit(target)
            done.add(path.pop())

    for module in PATHS:
        visit(module)


@pytest.mark.parametrize("module", [module for module in PATHS if is_a_peer(module)])
def test_a_peer_knows_other_peers_alone(module):
    assert all(target.startswith("benchmarks.peers") for target in mentioned(PATHS[module]))


def test_no_peer_is_called_as_a_library_is():
    assert not {path.stem for path in PATHS.values()} & set(LIBRARIES)


@pytest.mark.parametrize("module", PATHS)
def test_every_workload_that_is_named_is_there(module):
    for target, functions in mentioned(PATHS[module]).items():
        if is_a_peer(target):
            tree = ast.parse(PATHS[target].read_text(encoding="utf-8"))
            there = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
            assert functions - {""} <= there, f"{module} names {target}"


@pytest.mark.parametrize("module", PATHS)
def test_every_file_of_peers_that_a_side_names_is_there(module):
    text = PATHS[module].read_text(encoding="utf-8")
    if not re.search(r"^from benchmarks\._session import .*\bSide\b", text, re.MULTILINE):
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            missing = [name for name, _ in named(node.value) if name not in PATHS]
            assert not missing, f"{module} names {node.value!r}"


@pytest.mark.parametrize("module", PATHS)
def test_files_are_short(module):
    assert len(PATHS[module].read_text(encoding="utf-8").splitlines()) <= MOST_LINES
