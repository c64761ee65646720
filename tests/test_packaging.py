"""What is built and installed: the wheel holds the package and its saved models, nothing else."""

import configparser
import importlib.metadata
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import pytest

import rnnzoo

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    source = tmp_path_factory.mktemp("source")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "rnnzoo", source / "rnnzoo", ignore=ignore)
    for name in ("tests", "benchmarks", "results"):
        (source / name).mkdir()
        (source / name / "__init__.py").touch()
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "-w", str(folder), str(source)], check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return zipfile.ZipFile(built)


def test_the_wheel_holds_the_package_alone_and_all_of_it(wheel):
    names = set(wheel.namelist())
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"rnnzoo"}
    here = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "rnnzoo").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert here <= names, f"not in the wheel: {here - names}"
    assert wheel.read("rnnzoo/py.typed") == b""  # type checkers read the annotations of such alone


def test_the_saved_models_stay_small():
    size = sum(p.stat().st_size for p in (ROOT / "rnnzoo/saved_models").rglob("*") if p.is_file())
    assert size < 40e6


def test_the_metadata_names_command_extras_and_licence(wheel):
    info = next(name for name in wheel.namelist() if name.endswith("METADATA")).rpartition("/")[0]
    metadata = wheel.read(f"{info}/METADATA").decode()
    for extra in ("test", "serving", "export", "bench", "gpu"):
        assert f"Provides-Extra: {extra}" in metadata
    assert "License-Expression: Apache-2.0" in metadata or "License: Apache-2.0" in metadata
    points = configparser.ConfigParser()
    points.read_string(wheel.read(f"{info}/entry_points.txt").decode())
    assert points["console_scripts"]["rnnzoo"] == "rnnzoo.cli:main"


def test_the_citation_is_of_this_version_and_licence():
    lines = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith(("version:", "license:"))] == [
        f"version: {rnnzoo.__version__}",
        "license: Apache-2.0",
    ]


def test_dependencies_have_bounds_above_and_below_and_those_here_are_within():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    for line in config["options"]["install_requires"].split():
        name, lowest, above = re.fullmatch(r"([\w-]+)>=([\d.]+),<([\d.]+)", line).groups()
        here, low, high = map(_numbers, (importlib.metadata.version(name), lowest, above))
        assert low <= here < high, f"{line}, and {here} is installed"


def _numbers(version):
    return [int(part) for part in re.match(r"[\d.]*\d", version)[0].split(".")]


def test_every_extra_together_has_one_tensorflow():
    """tensorflow-serving-api requires `tensorflow`; beside tensorflow-cpu there would be two."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = config["options.extras_require"].values()
    asked = "\n".join([config["options"]["install_requires"], *extras])
    owners = {"tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tf-nightly", "intel-tensorflow"}
    assert owners & set(re.findall(r"^[\w-]+", asked, re.MULTILINE)) == {"tensorflow"}
    required = importlib.metadata.requires("tensorflow-serving-api")
    assert owners & {re.match(r"[\w-]+", line)[0] for line in required} == {"tensorflow"}
    assert set(importlib.metadata.packages_distributions()["tensorflow"]) == {"tensorflow"}


def test_an_unpacked_wheel_is_the_whole_package(wheel, tmp_path):
    wheel.extractall(tmp_path)
    code = "import rnnzoo; print(rnnzoo.__file__); print(len(rnnzoo.list_presets()))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    file, presets = done.stdout.split()
    assert file.startswith(str(tmp_path))
    folders = [p for p in (ROOT / "rnnzoo/saved_models").iterdir() if p.is_dir()]
    assert int(presets) == len(folders)
