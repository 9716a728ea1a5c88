"""`cnnlab serve`: the page and `POST /predict` on this computer, for programs that do not run Python."""

import socket
from typing import Annotated

import typer

from cnnlab.cli.arguments import ModelFile
from cnnlab.core.errors import UserError


def serve(
    model: ModelFile = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port on 127.0.0.1; 0 takes a free one.")] = 8000,
    max_bytes: Annotated[int, typer.Option(min=1, help="The largest picture, in bytes.")] = 10_000_000,
    rate: Annotated[float, typer.Option(min=1, help="The largest number of requests per second.")] = 1000,
) -> None:
    """Serve report/index.html and POST /predict on localhost. Needs the extra `serve` (docs/page.md).

    Send the bytes of one picture: curl --data-binary @shoe.jpg http://127.0.0.1:8000/predict
    """
    from cnnlab.cli.predict import open_model
    from cnnlab.core import artifacts

    try:
        import uvicorn

        from cnnlab.cli.server import Limits, application
    except ModuleNotFoundError as error:
        raise UserError(f'{error.name} is not installed: in a clone, `pip install -e ".[serve]"`.') from None
    page = artifacts.report_path()
    network = open_model(model, threads=1)
    app = application(network, page.read_bytes() if page.is_file() else None, Limits(max_bytes, rate))
    bound = _listen(port)
    address = f"http://127.0.0.1:{bound.getsockname()[1]}"
    typer.echo(f"{address}/ has {'the page' if page.is_file() else 'no page yet (`dvc repro` makes it)'}.")
    typer.echo(f"Send pictures to {address}/predict. Ctrl-C stops.")
    config = uvicorn.Config(app, log_level="warning", access_log=False, limit_concurrency=512, server_header=False)
    try:
        uvicorn.Server(config).run(sockets=[bound])
    except KeyboardInterrupt:  # what was under way has been answered
        raise typer.Exit from None


def _listen(port: int) -> socket.socket:
    """Take a port on 127.0.0.1, 0 for a free one; UserError where it cannot be used."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(("127.0.0.1", port))
    except OSError as error:
        raise UserError(f"port {port} cannot be used ({error.strerror}): choose another one with --port.") from None
    bound.listen(2048)
    return bound
