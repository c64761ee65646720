"""An experiment whose cells say in which process and on which cores they were worked on."""

import os
import time

from rnnzoo import _machine
from rnnzoo.experiments import _experiment

SCALES = {"smoke": {"seeds": [0, 1, 2, 3], "fails": None}, "broken": {"seeds": [0], "fails": 0}}
PUBLISHED, NOTES = [], []


def cells(settings):
    def work(number, folder, console):
        if number == settings["fails"]:
            raise ArithmeticError("it does not add up")
        console.print("nobody hears this")
        time.sleep(0.5)  # so that no process does all of them
        threads = os.environ["TF_NUM_INTRAOP_THREADS"]
        return {"process": os.getpid(), "cores": _machine.available(), "threads": threads}

    return [
        _experiment.Cell(
            f"cell{number}",
            {"number": number},
            lambda folder, console, number=number: work(number, folder, console),
        )
        for number in settings["seeds"]
    ]


def summarize(settings, results):
    return {"finished": sorted(results)}


def draw(settings, summary):
    return _experiment.new_figure(1, 1)
