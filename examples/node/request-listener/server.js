// A page service whose requests listen for changes of the site's configuration.
//
//   node server.js            every request adds a listener, nothing ever removes one
//   node server.js --fixed    the listener goes when the response is finished
//
// PORT sets the port (default 8080). SIGHUP reloads the configuration. SIGTERM ends the
// service after the requests in flight.
'use strict';

const { EventEmitter } = require('node:events');
const http = require('node:http');

const FIXED = process.argv.includes('--fixed');
const PORT = Number(process.env.PORT ?? 8080);

/** Tells everyone who renders a page that the site's configuration has changed. */
class SiteConfigBus extends EventEmitter {
  revision = 1;

  reload() {
    this.revision += 1;
    this.emit('config-reloaded', this.revision);
  }
}

// Lives as long as the process, and so does every listener that is not taken off again.
const siteConfigBus = new SiteConfigBus();
let pagesRendered = 0;

/** All that one page needs while it is being rendered. */
function startPageRender(request) {
  const number = ++pagesRendered;
  return {
    number,
    revision: siteConfigBus.revision,
    // Decided here, not kept as the client wrote it: a page costs the same whoever asks for it.
    language: /^de\b/.test(request.headers['accept-language'] ?? '') ? 'de' : 'en',
    narrow: /\bMobile\b/.test(request.headers['user-agent'] ?? ''),
    fragments: Array.from({ length: 8 }, (_, position) => ({
      id: number * 8 + position,
      slot: ['head', 'navigation', 'banner', 'body', 'aside', 'related', 'legal', 'foot'][position],
      rendered: false,
    })),
  };
}

/** A page that is half done when the configuration changes has to start again. */
function restartOnReload(page) {
  return (revision) => {
    page.revision = revision;
    for (const fragment of page.fragments) fragment.rendered = false;
  };
}

function renderPage(request, response) {
  const page = startPageRender(request);
  const restart = restartOnReload(page);

  // The leak: `on` without `off`. The closure keeps `page` alive for ever.
  siteConfigBus.on('config-reloaded', restart);
  // The fix: `close` comes once per response, whether it was sent or broken off.
  if (FIXED) response.once('close', () => siteConfigBus.off('config-reloaded', restart));

  // Rendering takes more than one turn of the event loop, as it does where a database is asked.
  setImmediate(() => {
    for (const fragment of page.fragments) fragment.rendered = true;
    const body = page.fragments.map((fragment) => `<div id="${fragment.slot}">${fragment.id}</div>`).join('\n');
    response.writeHead(200, { 'content-type': 'text/html', 'x-config-revision': String(page.revision) });
    response.end(`<!doctype html>\n<title>Page ${page.number}</title>\n${body}\n`);
  });
}

const server = http.createServer((request, response) => {
  request.resume();
  const path = request.url.split('?', 1)[0];
  if (path === '/front-page') {
    renderPage(request, response);
  } else if (path === '/healthz') {
    response.writeHead(200, { 'content-type': 'text/plain' });
    response.end(`ok, ${siteConfigBus.listenerCount('config-reloaded')} pages listen\n`);
  } else {
    response.writeHead(404, { 'content-type': 'text/plain' });
    response.end('no such page\n');
  }
});

server.listen(PORT, '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}/front-page`);
});

process.on('SIGHUP', () => siteConfigBus.reload());

process.once('SIGTERM', () => {
  server.close();
  server.closeIdleConnections();
  setTimeout(() => server.closeAllConnections(), 2000).unref();
});
