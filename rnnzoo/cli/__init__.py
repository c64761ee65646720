"""The `rnnzoo` command."""

from rnnzoo.cli.main import main

__all__ = ["main"]
