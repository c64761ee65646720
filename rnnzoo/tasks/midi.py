"""Piano rolls as MIDI files to listen to, and back."""

import numpy as np

from rnnzoo import _checks, _files
from rnnzoo.tasks import _rolls

LOWEST = 21  # the MIDI note of the first of 88 piano keys
TICKS = 480  # a frame, which is a quarter note in the file
VELOCITY = 80


def to_midi(roll, path, *, seconds_per_frame=0.5, hold=True):
    """Write a piano roll as a MIDI file.

    Args:
        roll: `[T, 88]` of 0 and 1 (or of booleans), T at least 1; key 0 is MIDI note 21. Sample or
            threshold probabilities first: ``roll = probabilities > 0.5``.
        path: where to write; the file appears whole or not at all.
        seconds_per_frame: how long a frame lasts, above 0 and at most 16 (default 0.5).
        hold: True (default): a key that is on in successive frames is one long note. False: it is
            struck anew in each frame. A roll does not say which of the two is meant.

    Returns:
        The path, as a `pathlib.Path`.

    Raises:
        ValueError: for a roll of another shape or with other values.
        ImportError: where mido is not installed (``pip install "rnnzoo[music]"``).

    >>> import numpy as np, pathlib, tempfile
    >>> from rnnzoo.tasks.midi import from_midi, to_midi
    >>> roll = np.zeros([4, 88], np.uint8)
    >>> roll[:2, 39] = 1  # middle C for two frames
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     back = from_midi(to_midi(roll, pathlib.Path(folder) / "c.mid"))
    >>> bool((back == roll).all())
    True
    """
    mido = _mido()
    roll = _checked(roll)
    hold = _checks.boolean("hold", hold)
    seconds = _checks.real("seconds_per_frame", seconds_per_frame, 0.0, 16.0, low_open=True)
    track = mido.MidiTrack()
    track.append(mido.MetaMessage("set_tempo", tempo=round(seconds * 1e6)))
    last = 0
    for frame, kind, key in _events(roll, hold):
        time, last = (frame - last) * TICKS, frame
        note = LOWEST + key
        track.append(mido.Message(kind, note=note, velocity=VELOCITY, time=time))
    track.append(mido.MetaMessage("end_of_track", time=(len(roll) - last) * TICKS))
    path = _files.as_path(path)
    with _files.replacing(path) as part:
        mido.MidiFile(ticks_per_beat=TICKS, tracks=[track]).save(part)
    return path


def from_midi(path):
    """The piano roll `[T, 88]` (uint8) of a MIDI file that `to_midi` wrote.

    Raises:
        ValueError: for a file that is no MIDI file, that has a note between two frames or outside
            the piano.
        ImportError: where mido is not installed.
    """
    mido = _mido()
    path = _files.as_path(path)
    try:
        file = mido.MidiFile(path)
        messages = list(mido.merge_tracks(file.tracks))
    except FileNotFoundError:
        raise
    except Exception as error:  # mido raises what it happens to meet in a damaged file
        raise ValueError(
            f"`path` must be a MIDI file. Received: path={str(path)!r} "
            f"({type(error).__name__}: {error})"
        ) from error
    frames, sounding, now = [], set(), 0
    for message in messages:
        now += message.time
        frame, rest = divmod(now, file.ticks_per_beat)
        if rest:
            raise ValueError(
                "`path` must have notes at whole quarters only, as `to_midi` writes them. "
                f"Received: path={str(path)!r}, with an event at tick {now}"
            )
        frames += [sorted(sounding)] * (frame - len(frames))
        if message.type in ("note_on", "note_off"):
            key = message.note - LOWEST
            if not 0 <= key < _rolls.KEYS:
                raise ValueError(
                    "`path` must have notes of a piano only, 21 to 108. "
                    f"Received: path={str(path)!r}, with the note {message.note}"
                )
            on = message.type == "note_on" and message.velocity > 0
            (sounding.add if on else sounding.discard)(key)
    roll = np.zeros([len(frames), _rolls.KEYS], np.uint8)
    for frame, keys in enumerate(frames):
        roll[frame, keys] = 1
    return roll


def _events(roll, hold):
    """`(frame, "note_off" or "note_on", key)` by time, at each time the ends first."""
    silence = np.zeros([1, _rolls.KEYS], bool)
    before, after = np.concatenate([silence, roll]), np.concatenate([roll, silence])
    ends = before & ~after if hold else before
    begins = after & ~before if hold else after
    for frame in range(len(after)):
        yield from ((frame, "note_off", int(key)) for key in np.flatnonzero(ends[frame]))
        yield from ((frame, "note_on", int(key)) for key in np.flatnonzero(begins[frame]))


def _checked(roll):
    roll = np.asarray(roll)
    if roll.ndim != 2 or roll.shape[1] != _rolls.KEYS or len(roll) < 1:
        raise ValueError(
            f"`roll` must have the shape [T, {_rolls.KEYS}] with T at least 1. "
            f"Received: shape {list(roll.shape)}"
        )
    if not np.isin(roll, (0, 1)).all():
        raise ValueError(
            "`roll` must hold 0 and 1 only: threshold or sample probabilities first. "
            f"Received: values from {roll.min()} to {roll.max()}"
        )
    return roll.astype(bool)


def _mido():
    try:
        import mido
    except ImportError as error:
        raise ImportError('MIDI files need mido: pip install "rnnzoo[music]".') from error
    return mido
