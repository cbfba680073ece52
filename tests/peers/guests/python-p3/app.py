"""A wasi:http 0.3 handler for componentize-py."""

import wit_world

from componentize_py_async_support import spawn
from componentize_py_async_support.streams import ByteStreamWriter
from componentize_py_types import Ok
from urllib.parse import parse_qs, urlsplit
from wit_world import exports
from wit_world.imports import monotonic_clock
from wit_world.imports.wasi_http_types import Fields, Request, Response


def trailers(fields: Fields | None = None):
    return wit_world.result_option_wasi_http_types_fields_wasi_http_types_error_code_future(lambda: Ok(fields))[1]


def done():
    return wit_world.result_unit_wasi_http_types_error_code_future(lambda: Ok(None))[1]


async def send(writer: ByteStreamWriter, *chunks: bytes) -> None:
    """What is sent after the first chunk is sent some time later."""
    with writer:
        for number, chunk in enumerate(chunks):
            if number > 0:
                await monotonic_clock.wait_for(50_000_000)
            await writer.write_all(chunk)


def respond(*chunks: bytes, status: int = 200, fields: Fields | None = None) -> Response:
    writer, reader = wit_world.byte_stream()
    response = Response.new(Fields.from_list([("x-guest", b"python-p3")]), reader, trailers(fields))[0]
    response.set_status_code(status)
    spawn(send(writer, *chunks))
    return response


class Handler(exports.Handler):
    async def handle(self, request: Request) -> Response:
        target = urlsplit(request.get_path_with_query() or "/")
        match target.path:
            case "/see":
                method = type(request.get_method()).__name__.removeprefix("Method_").upper()
                scheme = type(request.get_scheme()).__name__.removeprefix("Scheme_").lower()
                headers = {name: value.decode() for name, value in request.get_headers().copy_all()}
                return respond(
                    f"{method} {scheme}://{request.get_authority()}{request.get_path_with_query()}\n"
                    f"name {parse_qs(target.query).get('name', [None])[0]}\n"
                    f"host {headers.get('host')}\n"
                    f"x-probe {headers.get('x-probe')}\n".encode()
                )
            case "/echo":
                body, ending = Request.consume_body(request, done())
                return Response.new(Fields.from_list([("x-guest", b"python-p3")]), body, ending)[0]
            case "/stream":
                return respond(b"one\n", b"two\n", b"three\n")
            case "/trailers":
                return respond(b"with trailers\n", fields=Fields.from_list([("x-end", b"reached")]))
            case "/fail":
                raise RuntimeError("this handler fails")
            case _:
                return respond(b"not here\n", status=404)
