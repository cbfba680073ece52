// A Fetch handler as it is written for StarlingMonkey (componentize-js) and for service workers.
addEventListener('fetch', event => event.respondWith(answer(event.request)));

const pause = () => new Promise(resolve => setTimeout(resolve, 50));

async function answer(request) {
  const url = new URL(request.url);
  switch (url.pathname) {
    case '/see':
      return new Response([
        `${request.method} ${request.url}`,
        `name ${url.searchParams.get('name')}`,
        `host ${request.headers.get('host')}`,
        `x-probe ${request.headers.get('x-probe')}`,
      ].join('\n') + '\n', { headers: { 'x-guest': 'js' } });
    case '/echo':
      return new Response(request.body, { headers: { 'x-guest': 'js' } });
    case '/fetch':
      return fetch('http://127.0.0.1:9/').then(() => new Response('it got out\n'), () => new Response('refused\n'));
    case '/stream':
      return new Response(new ReadableStream({
        async start(controller) {
          for (const line of ['one\n', 'two\n', 'three\n']) {
            controller.enqueue(new TextEncoder().encode(line));
            await pause();
          }
          controller.close();
        },
      }));
    case '/fail':
      throw new Error('this handler fails');
    default:
      return new Response('not here\n', { status: 404 });
  }
}
