"""Wrong options of the sequence tasks are refused where they are given, and the fault is named."""

import pytest

from rnnzoo import tasks

BAD = [
    ("digits", {"rows": 1}, TypeError, "`rows` must be True or False. Received: rows=1"),
    ("digits", {"data_dir": "x"}, ValueError, "`data_dir` must be an option of the task digits"),
    ("transfer_copy", {"delay": 0}, ValueError, "`delay` .* at least 1. .*delay=0"),
    ("transfer_copy", {"delays": 200}, TypeError, "`delays` must be a list .*delays=200"),
    ("transfer_copy", {"delays": []}, ValueError, r"`delays` must be at least one .*delays=\[\]"),
    ("transfer_copy", {"delays": [5, 5]}, ValueError, r"none twice. .*delays=\[5, 5\]"),
    ("transfer_copy", {"delays": [5, 0]}, ValueError, "`delays` .* at least 1. .*delays=0"),
    ("transfer_copy", {"delays": [2.0]}, TypeError, "`delays` must be an integer. .*delays=2.0"),
    ("teacher_student", {"nu_0": 1.0}, ValueError, r"`nu_0` must be a number in \[0, 1\). .*=1.0"),
    ("teacher_student", {"nu_0": "0.5"}, TypeError, "`nu_0` must be a number. .*nu_0='0.5'"),
    ("teacher_student", {"theta_0": 3.2}, ValueError, "`theta_0` .*theta_0=3.2"),
    ("teacher_student", {"rho": -0.1}, ValueError, "`rho` .*rho=-0.1"),
    ("teacher_student", {"rho": 1.1}, ValueError, "`rho` .*rho=1.1"),
    ("teacher_student", {"state_size": 0}, ValueError, "`state_size` .*state_size=0"),
    ("teacher_student", {"length": 0}, ValueError, "`length` .*length=0"),
    ("teacher_student", {"teacher_seed": -1}, ValueError, "`teacher_seed` .*teacher_seed=-1"),
    ("teacher_student", {"train_size": 0}, ValueError, "`train_size` .*train_size=0"),
    ("teacher_student", {"validation_size": 1.5}, TypeError, "`validation_size` .*=1.5"),
    ("teacher_student", {"test_size": -1}, ValueError, "`test_size` .*test_size=-1"),
    ("jsb", {"data_dir": 5}, TypeError, "`data_dir` must be a path or None. .*data_dir=5"),
    ("jsb", {"batch_size": 0}, ValueError, "`batch_size` .*batch_size=0"),
    ("nottingham", {"data_dir": ""}, TypeError, "`data_dir` must be a path or None"),
    ("nottingham", {"seed": -1}, ValueError, "`seed` .*seed=-1"),
    ("atis", {"target": "slot"}, ValueError, "`target` must be one of 'slots', .*target='slot'"),
    ("atis", {"window": 2}, ValueError, "`window` must be odd. Received: window=2"),
    ("atis", {"window": 0}, ValueError, "`window` .* at least 1. .*window=0"),
    ("atis", {"min_count": 0}, ValueError, "`min_count` .*min_count=0"),
    ("atis", {"embedding_size": 0}, ValueError, "`embedding_size` .*embedding_size=0"),
    ("atis", {"dropout": 1}, ValueError, r"`dropout` must be a number in \[0, 1\). .*dropout=1"),
    ("pmnist", {"order": "bits"}, ValueError, "`order` must be one of 'random', .*order='bits'"),
]


@pytest.mark.parametrize(("name", "options", "error", "words"), BAD)
def test_bad_options_are_told(name, options, error, words):
    with pytest.raises(error, match=words):
        tasks.get(name, **options)


@pytest.mark.parametrize(("name", "folder"), [("jsb", "poly_music"), ("atis", "atis")])
def test_data_that_are_not_there_are_told(name, folder, tmp_path):
    with pytest.raises(tasks.DataError, match=f"`data_dir` .* the folder {folder}. Received"):
        tasks.get(name, data_dir=tmp_path).arrays("test")
    (tmp_path / folder).mkdir()
    with pytest.raises(tasks.DataError, match=r"is missing from the folder"):
        tasks.get(name, data_dir=tmp_path).arrays("test")


def test_other_calls_are_told():
    task = tasks.get("transfer_copy")
    with pytest.raises(ValueError, match=r"`delay` must be an integer of at least 1. .*delay=0"):
        task.at(0)
    for name in ("jsb", "atis", "teacher_student"):
        with pytest.raises(ValueError, match=r"`split` must be one of .* split='dev'"):
            tasks.get(name).arrays("dev")
    with pytest.raises(ValueError, match=r"`split` must be one of .* split='dev'"):
        tasks.get("jsb").pieces("dev")
    with pytest.raises(ValueError, match=r"`split` must be one of .* split='dev'"):
        tasks.get("atis").utterances("dev")
