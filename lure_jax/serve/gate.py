"""Before a request's body is read: is there room for it, is it small enough, does it end in time."""

import asyncio

from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lure_jax.serve.limits import Limits, megabytes

RETRY_SECONDS = "2"
_BUSY = "The server is busy, its queue is full; try again in a moment."
_DRAIN_SECONDS = 10  # a client that gets no place may finish sending, so that it reads the answer
_DRAINING = 512  # clients that may do so at a time


class Gate:
    """ASGI middleware around everything that takes a body.

    Args:
      app: what it lets requests through to.
      limits: of bodies, of requests at a time and of their time.
    """

    def __init__(self, app: ASGIApp, limits: Limits):
        self._app, self._limits = app, limits
        self._inside = self._draining = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
        elif _declared(scope) > self._limits.upload_bytes:
            await self._turn_away(scope, receive, send, _too_large(self._limits))
        elif self._inside >= self._limits.admitted:
            await self._turn_away(scope, receive, send, answer(503, _BUSY, {"Retry-After": RETRY_SECONDS}))
        else:
            self._inside += 1
            try:
                await self._admit(scope, receive, send)
            finally:
                self._inside -= 1

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = _Body(receive, self._limits)
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            async with asyncio.timeout(self._limits.seconds):
                await self._app(scope, body.receive, watched)
        except TimeoutError:
            if started:
                raise
            sentence = f"The request took longer than {self._limits.seconds:g} s; send a smaller image or fewer pairs."
            await answer(503, sentence)(scope, receive, send)

    async def _turn_away(self, scope: Scope, receive: Receive, send: Send, response: JSONResponse) -> None:
        """Answers once the client has sent its body, which is thrown away: a connection closed before loses answers."""
        if self._draining < _DRAINING:
            self._draining += 1
            try:
                async with asyncio.timeout(_DRAIN_SECONDS):
                    await _drain(receive, 2 * self._limits.upload_bytes)
            except TimeoutError:
                pass
            finally:
                self._draining -= 1
        await response(scope, receive, send)


class _Body:
    """A body that may not grow beyond the limit, whatever its header said."""

    def __init__(self, receive: Receive, limits: Limits):
        self._receive, self._limits, self._received = receive, limits, 0

    async def receive(self) -> Message:
        message = await self._receive()
        self._received += len(message.get("body", b""))
        if self._received > self._limits.upload_bytes:
            if message.get("more_body"):
                await _drain(self._receive, self._limits.upload_bytes)
            raise HTTPException(413, _too_large_sentence(self._limits))
        return message


def answer(status: int, sentence: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An error as JSON."""
    return JSONResponse({"error": sentence}, status, headers)


async def _drain(receive: Receive, at_most: int) -> None:
    received = 0
    while received <= at_most:
        message = await receive()
        received += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body"):
            return


def _declared(scope: Scope) -> int:
    value = dict(scope["headers"]).get(b"content-length", b"0")
    return int(value) if value.isdigit() else 0


def _too_large(limits: Limits) -> JSONResponse:
    return answer(413, _too_large_sentence(limits))


def _too_large_sentence(limits: Limits) -> str:
    return f"The upload is larger than the {megabytes(limits.upload_bytes)} that this server takes."
