// A wasi:http 0.3 handler for componentize-qjs, which gives the interface as it is: there is no fetch.
import types from 'wasi:http/types@0.3.0';

const { Fields, Request, Response } = types;

const bytes = text => new Uint8Array([...text].map(character => character.charCodeAt(0)));
const text = value => String.fromCharCode(...value);

// A future that has its value already.
function settled(type, value) {
  const { readable, writable } = wit.Future(type);
  writable.write(value);
  return readable;
}
const ending = (fields = null) => settled(ENDING, { tag: 'ok', val: fields });

const ENDING = Object.values(wit.Future.types).find(type => `${type}`.includes('OPTION')) ?? wit.Future.types[0];

function respond(status, content) {
  const fields = Fields.fromList([['x-guest', bytes('qjs')]]);
  const { readable, writable } = wit.Stream(wit.Stream.U8);
  const [response] = Response.new(fields, readable, ending());
  response.setStatusCode(status);
  writable.writeAll(bytes(content)).then(() => writable.drop());
  return response;
}

export const handler = {
  async handle(request) {
    const [path, query] = (request.getPathWithQuery() ?? '/').split('?');
    switch (path) {
      case '/types':
        return respond(200, JSON.stringify([wit.Future.types, wit.Stream.types, Object.keys(wit.Future)]) + '\n');
      case '/see': {
        const headers = Object.fromEntries(request.getHeaders().copyAll().map(([name, value]) => [name, text(value)]));
        return respond(200, [
          `method ${request.getMethod().tag}`,
          `scheme ${request.getScheme()?.tag}`,
          `authority ${request.getAuthority()}`,
          `query ${query}`,
          `host ${headers.host}`,
          `x-probe ${headers['x-probe']}`,
        ].join('\n') + '\n');
      }
      case '/fail':
        throw new Error('this handler fails');
      default:
        return respond(404, 'not here\n');
    }
  },
};
