// A wasi:http 0.3 handler for componentize-qjs, which gives the interface as it is: there is no fetch.
import types from 'wasi:http/types@0.3.0';

const { Fields, Request, Response } = types;

const bytes = text => new Uint8Array([...text].map(character => character.charCodeAt(0)));
const text = value => String.fromCharCode(...value);

const trailers = (fields = null) =>
  wit.Future.from({ tag: 'ok', val: fields }, wit.Future.RESULT_OPTION_OTHER_ERROR_CODE).readable;
const done = () => wit.Future.from({ tag: 'ok' }, wit.Future.RESULT_VOID_ERROR_CODE).readable;

function respond(status, lines, ending = null) {
  const content = wit.Stream.from(lines.map(line => bytes(`${line}\n`)), wit.Stream.U8).readable;
  const [response] = Response.new(Fields.fromList([['x-guest', bytes('qjs')]]), content, trailers(ending));
  response.setStatusCode(status);
  return response;
}

function see(request, query) {
  const headers = Object.fromEntries(request.getHeaders().copyAll().map(([name, value]) => [name, text(value)]));
  const scheme = request.getScheme()?.tag.toLowerCase();
  return respond(200, [
    `${request.getMethod().tag.toUpperCase()} ${scheme}://${request.getAuthority()}${request.getPathWithQuery()}`,
    `name ${decodeURIComponent(query.replace('name=', ''))}`,
    `host ${headers.host}`,
    `x-probe ${headers['x-probe']}`,
  ]);
}

export const handler = {
  async handle(request) {
    const [path, query] = (request.getPathWithQuery() ?? '/').split('?');
    switch (path) {
      case '/see':
        return see(request, query);
      case '/echo': {
        const [body, ending] = Request.consumeBody(request, done());
        return Response.new(Fields.fromList([['x-guest', bytes('qjs')]]), body, ending)[0];
      }
      case '/stream':
        return respond(200, ['one', 'two', 'three']);
      case '/trailers':
        return respond(200, ['with trailers'], Fields.fromList([['x-end', bytes('reached')]]));
      case '/fail':
        throw new Error('this handler fails');
      default:
        return respond(404, ['not here']);
    }
  },
};
