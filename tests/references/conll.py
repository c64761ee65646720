"""Spans and their F1 from tag names, one sentence at a time, as the CoNLL script counts them."""


def spans(tags):
    """The set of `(first, last, type)` in a list of names "O", "B-x", "I-x"."""
    found, first, kind = set(), None, None
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, name = tag.partition("-")
        continues = prefix == "I" and first is not None and name == kind
        if first is not None and not continues:
            found.add((first, place - 1, kind))
            first, kind = None, None
        if prefix != "O" and not continues:
            first, kind = place, name
    return found


def f1(wanted, claimed):
    """F1 over lists of sentences (lists of tag names)."""
    pairs = [(spans(w), spans(c)) for w, c in zip(wanted, claimed, strict=True)]
    right = sum(len(w & c) for w, c in pairs)
    total = sum(len(w) + len(c) for w, c in pairs)
    return 2 * right / total if total else 0.0
