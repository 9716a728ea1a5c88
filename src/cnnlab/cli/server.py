"""The HTTP application behind `cnnlab serve`: bytes of a picture in, JSON out. It opens no file that a client names."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from cnnlab.cli.predict import to_json
from cnnlab.data.pictures import PictureError
from cnnlab.inference.predict import predict
from cnnlab.inference.session import Model, available_cores

PATIENCE = 10.0  # seconds in which a request's body must have come
MOST_WAITING = 256  # pictures that wait for an answer
ROUTES = "the server answers GET / and POST /predict, and nothing else."


@dataclass(frozen=True)
class Limits:
    """What one request may bring, in bytes, and how many requests a second are taken."""

    max_bytes: int
    rate: float


@dataclass
class Bucket:
    """A token bucket: `rate` requests a second on average, as many again at once."""

    rate: float
    clock: Callable[[], float] = time.monotonic
    tokens: float = field(init=False)
    last: float = field(init=False)

    def __post_init__(self) -> None:
        self.tokens, self.last = self.rate, self.clock()

    def take(self) -> bool:
        """Take one request, or say no."""
        now = self.clock()
        self.tokens = min(self.rate, self.tokens + (now - self.last) * self.rate)
        self.last = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


def application(model: Model, page: bytes | None, limits: Limits) -> Starlette:
    """GET / gives the page, POST /predict answers one picture; errors of ours are JSON with one sentence."""
    workers = ThreadPoolExecutor(available_cores(), thread_name_prefix="predict")
    bucket = Bucket(limits.rate)
    waiting = 0

    def show(request: Request) -> Response:
        if page is None:
            raise HTTPException(404, "report/index.html was not there when the server started: run `dvc repro`.")
        return HTMLResponse(page)

    async def answer(request: Request) -> Response:
        nonlocal waiting
        if not bucket.take():
            raise HTTPException(429, f"more than {limits.rate:g} requests per second.", {"Retry-After": "1"})
        top = _whole(request.query_params.get("top", "3"))
        body = await _body(request, limits.max_bytes)
        if waiting >= MOST_WAITING:
            raise HTTPException(503, f"{MOST_WAITING} pictures are waiting already.", {"Retry-After": "1"})
        waiting += 1
        try:
            text = await asyncio.get_running_loop().run_in_executor(workers, _answer, model, body, top)
        finally:
            waiting -= 1
        return Response(text, media_type="application/json")

    return Starlette(
        routes=[Route("/", show), Route("/predict", answer, methods=["POST"])],
        exception_handlers={HTTPException: _refuse, Exception: _fail},
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])],
    )


def _answer(model: Model, body: bytes, top: int) -> str:
    (result,) = predict(model, [body], top=top)
    if isinstance(result, PictureError):
        raise HTTPException(400, f"what was sent {result.reason}.")
    return to_json(result)


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= len(text) <= 4 or int(text) == 0:
        raise HTTPException(400, "top must be a whole number from 1 to 9999.")
    return int(text)


async def _body(request: Request, most: int) -> bytes:
    """The bytes sent, no more than `most`, within PATIENCE."""
    kind = request.headers.get("content-type", "")
    if kind.startswith("multipart/"):
        raise HTTPException(415, "send the picture's bytes as the body, not a form: curl --data-binary @picture.jpg.")
    too_long = HTTPException(413, f"the picture is over {most:,} bytes.", {"Connection": "close"})
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > most:
        raise too_long
    received = bytearray()
    try:
        async with asyncio.timeout(PATIENCE):
            async for chunk in request.stream():
                received += chunk
                if len(received) > most:
                    raise too_long
    except TimeoutError:
        raise HTTPException(408, f"the picture did not arrive within {PATIENCE:g} seconds.") from None
    except ClientDisconnect:
        raise HTTPException(400, "the client disconnected.") from None
    return bytes(received)


def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known = error.detail != HTTPStatus(error.status_code).phrase  # the framework's own say only that
    return JSONResponse({"error": error.detail if known else ROUTES}, error.status_code, error.headers)


def _fail(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "the server failed; its terminal says why."}, 500)
