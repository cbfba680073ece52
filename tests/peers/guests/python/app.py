"""A wasi:http 0.2 handler for componentize-py, on the event loop that it brings along."""

import asyncio

from componentize_py_types import Ok
from poll_loop import PollLoop, Sink, Stream, register
from urllib.parse import parse_qs, urlsplit
from wit_world import exports
from wit_world.imports import monotonic_clock
from wit_world.imports.types import Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        loop = PollLoop()
        asyncio.set_event_loop(loop)
        loop.run_until_complete(answer(request, response_out))


def begin(response_out: ResponseOutparam, status: int = 200) -> OutgoingBody:
    response = OutgoingResponse(Fields.from_list([("x-guest", b"python")]))
    response.set_status_code(status)
    body = response.body()
    ResponseOutparam.set(response_out, Ok(response))
    return body


async def respond(response_out: ResponseOutparam, text: str, status: int = 200) -> None:
    sink = Sink(begin(response_out, status))
    await sink.send(text.encode())
    sink.close()


async def answer(request: IncomingRequest, response_out: ResponseOutparam) -> None:
    target = urlsplit(request.path_with_query() or "/")
    match target.path:
        case "/see":
            method = type(request.method()).__name__.removeprefix("Method_").upper()
            scheme = type(request.scheme()).__name__.removeprefix("Scheme_").lower()
            headers = {name: value.decode() for name, value in request.headers().entries()}
            await respond(
                response_out,
                f"{method} {scheme}://{request.authority()}{request.path_with_query()}\n"
                f"name {parse_qs(target.query).get('name', [None])[0]}\n"
                f"host {headers.get('host')}\n"
                f"x-probe {headers.get('x-probe')}\n",
            )
        case "/echo":
            stream, sink = Stream(request.consume()), Sink(begin(response_out))
            while (chunk := await stream.next()) is not None:
                await sink.send(chunk)
            sink.close()
        case "/stream":
            sink = Sink(begin(response_out))
            for line in ("one\n", "two\n", "three\n"):
                await sink.send(line.encode())
                await register(asyncio.get_event_loop(), monotonic_clock.subscribe_duration(50_000_000))
            sink.close()
        case "/trailers":
            body = begin(response_out)
            with body.write() as out:
                out.blocking_write_and_flush(b"with trailers\n")
            OutgoingBody.finish(body, Fields.from_list([("x-end", b"reached")]))
        case "/fail":
            raise RuntimeError("this handler fails")
        case _:
            await respond(response_out, "not here\n", 404)
