"""What the documents at the top name is there: imports, files, floors."""

import importlib
import pathlib
import re

import pytest
from test_architecture import FLOORS

from rnnzoo.recurrences._forms import FORMS

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "benchmarks/README.md")
PEERS = ("torch", "jax")  # which only benchmarks need
FOLDERS = ("rnnzoo", "tests", "benchmarks", "examples", "results")


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def resolve(name):
    """The module or attribute of a dotted name; an AssertionError that names it."""
    parts = name.split(".")
    found = importlib.import_module(parts[0])
    for number, part in enumerate(parts[1:], 2):
        if not hasattr(found, part):
            path = ROOT.joinpath(*parts[:number])
            there = path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()
            assert there, f"{name} is not there"
            try:
                importlib.import_module(".".join(parts[:number]))
            except ModuleNotFoundError as error:
                if error.name not in PEERS:
                    raise
                return None  # its file is there
        found = getattr(found, part)
    return found


def test_what_is_not_there_is_told():
    with pytest.raises(AssertionError, match=r"rnnzoo\.layers\.Nonsense is not there"):
        resolve("rnnzoo.layers.Nonsense")
    assert resolve("rnnzoo.layers.LRU").__name__ == "LRU"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_dotted_name_resolves(document):
    text = read(document)
    for name in set(re.findall(r"(?<![\w/.])((?:rnnzoo|benchmarks)(?:\.[A-Za-z_]\w*)+)", text)):
        if name.rpartition(".")[2] not in ("py", "txt", "md", "npy"):
            resolve(name)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_is_there(document):
    folders = "|".join(FOLDERS)
    for path in set(re.findall(rf"(?<![\w/.-])((?:{folders})/[\w./-]*)", read(document))):
        assert (ROOT / path.rstrip(".")).exists(), f"{document} names {path}"


def test_what_the_changelog_says_moved_is_where_it_says():
    rows = re.findall(r"^\| (`.*) \| (.*) \|$", read("CHANGELOG.md"), re.MULTILINE)
    assert len(rows) > 20
    for before, now in rows:
        for name in re.findall(r"`((?:rnnzoo|benchmarks)\.[\w.]+)`", now):
            resolve(name)
        if "also at its old path" in now:
            resolve(before.strip("`"))


def test_the_drawing_of_the_floors_is_theirs():
    drawn = dict(re.findall(r"^ +(\d+) {3}(\S+(?: {2}\S+)*) {3,}\S", read("ARCHITECTURE.md"), re.M))
    assert [set(drawn[str(number)].split()) for number in range(len(FLOORS))] == list(FLOORS)
    assert len(drawn) == len(FLOORS)


def test_what_a_reader_should_open_first_is_in_its_package():
    paragraphs = re.findall(
        r"^\*\*([a-z, ]+)\.\*\* (.+?)\n\n", read("ARCHITECTURE.md"), re.MULTILINE | re.DOTALL
    )
    assert len(paragraphs) > 10
    for rooms, text in paragraphs:
        for file in re.findall(r"`(\w+\.py)`", text):
            places = [ROOT / "rnnzoo" / room / file for room in rooms.split(", ")]
            assert any(place.is_file() for place in places), f"{file} is not in {rooms}"


def test_the_table_of_forms_has_every_form():
    table = re.findall(r'^\| `"(\w+)"` \|', read("ARCHITECTURE.md"), re.MULTILINE)
    assert table == list(FORMS)


def test_prose_wraps():
    lines = read("ARCHITECTURE.md").splitlines()
    assert not [line for line in lines if len(line) > 100 and not line.startswith("|")]
