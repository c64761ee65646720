"""``python -m rnnzoo``: the `rnnzoo` command."""

from rnnzoo.cli import main

main(prog_name="rnnzoo")
