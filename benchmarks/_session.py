"""One run of a module: its rows, measured in turns."""

import contextlib
import dataclasses
import time

import numpy as np

from benchmarks import _statistics
from benchmarks._processes import PeerFailed, PeerMissing, Pool, Process

SETTLE_S = 0.05  # threads of the peer that ran last stop spinning
MOST_ITERATIONS = 1000


@dataclasses.dataclass(frozen=True)
class Effort:
    """How long to measure."""

    rounds: int
    round_s: float  # of each side in each round
    case_s: float  # beyond it, fewer rounds
    warmups: int = 2
    fewest_rounds: int = 3
    apart: bool = False  # a new process each turn, because all together do not fit into memory


FULL = Effort(rounds=7, round_s=0.5, case_s=20.0)
QUICK = Effort(rounds=3, round_s=0.1, case_s=3.0)
LONG = Effort(rounds=2, round_s=0.1, case_s=1.0, warmups=1, fewest_rounds=2, apart=True)


@dataclasses.dataclass(frozen=True)
class Side:
    """An implementation: `target` is "file_of_peers:function", with its arguments."""

    name: str
    target: str
    kwargs: dict = dataclasses.field(default_factory=dict)

    @property
    def function(self):
        return f"benchmarks.peers.{self.target}"


@dataclasses.dataclass(frozen=True)
class Peer:
    """Whom a row compares with, and the ratios that must hold and that are aimed for."""

    side: Side
    must: float | None = None
    aim: float | None = None


@dataclasses.dataclass
class Row:
    """A line of the table. `value` is ours / peer, or a number of `unit` by itself."""

    what: str
    peer: str
    must: float | None = None
    aim: float | None = None
    unit: str = "ratio"
    value: dict | None = None
    ours: dict | None = None
    theirs: dict | None = None
    measured: str = "ms"
    settings: dict = dataclasses.field(default_factory=dict)
    skipped: str | None = None
    failed: str | None = None

    @property
    def verdict(self):
        if self.skipped or self.failed:
            return "skipped" if self.skipped else "failed"
        value = self.value["median"] if self.value else None
        return _statistics.verdict(value, self.must, self.aim)


class Session:
    """What a module's `measure(session)` gets.

    Args:
        quick: smaller sizes, fewer rounds.
        gpu: whether workers may use a GPU.
        tell: called with each finished `Row`, and with a line of text when something begins.
    """

    def __init__(self, quick=False, gpu=False, tell=lambda message: None):
        self.quick = quick
        self.effort = QUICK if quick else FULL
        self.gpu = gpu
        self.rows = []
        self.curves = []
        self.skipped = None
        self.tell = tell
        self._pool = Pool(gpu)

    def add(self, row):
        self.rows.append(row)
        self.tell(row)
        return row

    def process(self):
        """A fresh worker, to be used in a `with` block."""
        return Process(self.gpu)

    def end(self):
        self._pool.end()

    def compare(self, what, ours, peers, per=1, effort=None):
        """Measure `ours` in turn with each of `peers`: a row for every peer.

        Args:
            what: the rows' text.
            ours: a `Side`.
            peers: a list of `Peer`.
            per: the times are divided by it (chunks an iteration, say).
            effort: an `Effort`; by default the session's.
        """
        self.tell(what)
        effort = effort or self.effort
        sides = dict(enumerate([ours, *(peer.side for peer in peers)]))
        measure = self._apart if effort.apart else self._together
        measured, counts, absent = measure(sides, effort)
        for seat, peer in enumerate(peers, 1):
            row = Row(what, peer.side.name, peer.must, peer.aim, settings=dict(ours.kwargs))
            if seat in measured and 0 in measured:
                self._fill(row, measured[0], measured[seat], per)
                row.settings.update(iterations=[counts[0], counts[seat]], rounds=len(measured[0]))
            else:
                for field, reason in absent.get(0, absent.get(seat)).items():
                    setattr(row, field, reason)
            self.add(row)

    def _together(self, sides, effort):
        """`(measured, counts, absent)` by seat, from workers that stay alive."""
        seats, once, absent = {}, {}, {}
        for seat, side in sides.items():
            if 0 in absent:
                break
            with _noted(absent, seat, side):
                seats[seat], once[seat] = self._seated(seat, side, effort)
        measured, counts = {}, {}
        if len(seats) > 1:
            try:
                measured, counts = take_turns(seats, once, effort)
            except PeerFailed as error:
                self.end()
                absent.update({seat: {"failed": f"in its turn: {error}"} for seat in sides})
        return measured, counts, absent

    def _apart(self, sides, effort):
        """The same, from a new worker each turn: one side in memory at a time."""
        self.end()
        measured, absent = {}, {}
        for _ in range(effort.fewest_rounds):
            for seat, side in sides.items():
                if seat in absent or 0 in absent:
                    continue
                with _noted(absent, seat, side), self.process() as process:
                    process.make(side.function, side.kwargs)
                    process.run(effort.warmups)
                    measured.setdefault(seat, []).append(process.run(1))
        measured = {seat: rounds for seat, rounds in measured.items() if seat not in absent}
        return measured, dict.fromkeys(measured, 1), absent

    def _seated(self, seat, side, effort):
        """A warm worker, and the seconds that it takes for an iteration."""
        key = (seat, side.target.partition(":")[0])
        process = self._pool.get(key)
        try:
            process.make(side.function, side.kwargs)
            return process, process.run(effort.warmups)[-1]
        except PeerFailed:
            self._pool.drop(key)  # its state cannot be trusted any more
            raise

    @staticmethod
    def _fill(row, ours, theirs, per):
        row.value = _statistics.ratio_of_rounds(ours, theirs)
        row.ours = milliseconds(ours, per)
        row.theirs = milliseconds(theirs, per)


@contextlib.contextmanager
def _noted(absent, seat, side):
    """Note in `absent` why a side cannot be measured."""
    try:
        yield
    except PeerMissing as error:
        absent[seat] = {"skipped": f"{error.args[0]} is not installed"}
    except PeerFailed as error:
        absent[seat] = {"failed": f"{side.name}: {error}"}


def take_turns(seats, once, effort):
    """A B C A B C ...: the seconds `{seat: rounds}`, and `{seat: iterations of a round}`.

    Args:
        seats: `{seat: Process}`, made and warm.
        once: `{seat: seconds}` of an iteration.
        effort: an `Effort`.
    """
    counts = {
        seat: int(np.clip(round(effort.round_s / seconds), 1, MOST_ITERATIONS))
        for seat, seconds in once.items()
    }
    round_s = sum(counts[seat] * once[seat] for seat in seats)
    rounds = int(np.clip(effort.case_s / round_s, effort.fewest_rounds, effort.rounds))
    measured = {seat: [] for seat in seats}
    for _ in range(rounds):
        for seat, process in seats.items():
            time.sleep(SETTLE_S)
            measured[seat].append(process.run(counts[seat]))
    return measured, counts


def milliseconds(rounds, per=1):
    seconds = np.array(_statistics.flatten(rounds))
    return _statistics.summary(seconds * 1e3 / per)
