"""`rnnzoo serve`: exported models on this machine, for development and tests."""

import logging
import os
import signal
import threading

import click

from rnnzoo import _machine


@click.command()
@click.argument("directories", metavar="DIR...", nargs=-1, required=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--grpc-port", default=8500, show_default=True, help="0 takes a free one.")
@click.option("--rest-port", default=8501, show_default=True, help="0 takes a free one.")
@click.option("--max-mb", default=16, show_default=True, help="Largest request, largest output.")
@click.option("--queue", default=64, show_default=True, help="Requests that may wait.")
@click.option("--drain", default=10.0, show_default=True, help="Seconds for them at the end.")
def serve(directories, host, grpc_port, rest_port, max_mb, queue, drain):
    """Serve the newest version in each DIR, over gRPC and REST.

    A DIR is a folder that `rnnzoo export` writes; the model is served under its name. New versions
    are loaded as they appear. SIGTERM and Ctrl-C end the server once the requests in hand are
    answered. For development and tests: in production use TensorFlow Serving.
    """
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    _machine.import_tensorflow()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("rnnzoo.serving").setLevel(logging.INFO)
    from rnnzoo.serving import Server

    server = Server(
        directories,
        host=host,
        grpc_port=grpc_port,
        rest_port=rest_port,
        max_bytes=max_mb * 2**20,
        queue=queue,
    )
    for name, version in server.versions.items():
        click.echo(f"{name} version {version}: {server.grpc_address} and {server.rest_address}")
    ended.wait()
    if not server.stop(drain):
        click.echo(f"Ended with requests unanswered after {drain:g} s.", err=True)
        os._exit(1)  # what still computes cannot be stopped otherwise
    click.echo("Ended.")
