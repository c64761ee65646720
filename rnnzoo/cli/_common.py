"""What the commands share: options given as KEY=VALUE, tables and scores."""

import ast
import os
import re
import shlex
import sys

import click


def pairs(option, given):
    """``("delay=50", "one_hot=true")`` as ``{"delay": 50, "one_hot": True}``."""
    found = {}
    for text in given:
        key, equals, value = text.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or not key.isidentifier():
            raise ValueError(f"`{option}` must be KEY=VALUE. Received: {option} {text}")
        if key in found:
            raise ValueError(f"`{option}` must name {key} once. Received: {option} {text}")
        found[key] = value_of(value.strip())
    return found


def value_of(text):
    """A number, a boolean, None, or a list of these; anything else is a string."""
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def given(options, **named):
    """`options` with those `named` ones that were given, none of them twice."""
    for name, value in named.items():
        if value is None:
            continue
        if name in options:
            flag = "--" + name.replace("_", "-")
            raise ValueError(f"`{name}` must be given once. Received: {flag} {value} and {name}=…")
        options[name] = value
    return options


def is_file(file_or_preset):
    """Whether a word names a file; a preset's name has neither folder nor suffix."""
    return file_or_preset.endswith(".keras") or os.sep in file_or_preset


def command():
    """The command line as the user may repeat it."""
    words = ["rnnzoo", *sys.argv[1:]]
    return " ".join(w if re.fullmatch(r"[\w./=-]+", w) else shlex.quote(w) for w in words)


def print_table(first, rows, last="options"):
    import rich.console
    import rich.table

    console = rich.console.Console()
    if not rows:
        console.print(f"There is no {first} here.")
        return
    table = rich.table.Table(first, "what", last)
    table.columns[0].no_wrap = True
    for row in rows:
        table.add_row(*(cell.replace("[", r"\[") for cell in row))
    console.print(table)


def print_scores(scores, beside, title="baseline"):
    for name, value in scores.items():
        known = f"   {title} {beside[name]:.6g}" if name in beside else ""
        click.echo(f"  {name:<20} {value:.6g}{known}")
