// A shop that caches the catalogue page it made for each visitor.
//
//   node server.js                the cache holds 8,000 pages: it fills, then stays level
//   node server.js --fixed        the same (every example takes this flag for its healthy side)
//   node server.js --unbounded    the cache has no limit: a leak
//
// PORT sets the port (default 8080), CACHE_ENTRIES the limit. SIGTERM ends the service
// after the requests in flight.
'use strict';

const crypto = require('node:crypto');
const http = require('node:http');

const UNBOUNDED = process.argv.includes('--unbounded') && !process.argv.includes('--fixed');
const PORT = Number(process.env.PORT ?? 8080);
const CACHE_ENTRIES = Number(process.env.CACHE_ENTRIES ?? 8000);

/** Keeps the `limit` most recently used values. A Map keeps insertion order: its first key is the oldest. */
class RecentPageCache {
  #pages = new Map();
  #limit;

  constructor(limit) {
    this.#limit = limit;
  }

  get size() {
    return this.#pages.size;
  }

  find(key) {
    const page = this.#pages.get(key);
    if (page === undefined) return undefined;
    this.#pages.delete(key);
    this.#pages.set(key, page);
    return page;
  }

  keep(key, page) {
    this.#pages.set(key, page);
    if (this.#pages.size > this.#limit) this.#pages.delete(this.#pages.keys().next().value);
  }
}

const cataloguePages = new RecentPageCache(UNBOUNDED ? Infinity : CACHE_ENTRIES);
let visitorsCounted = 0;

/** A visitor without a cookie is a new visitor, and so misses the cache. */
function recogniseVisitor(request) {
  const cookie = /(?:^|;\s*)visitor=(\d{1,12})(?:;|$)/.exec(request.headers.cookie ?? '');
  return cookie ? Number(cookie[1]) : ++visitorsCounted;
}

function composeCatalogue(visitor) {
  const rows = Array.from({ length: 16 }, (_, position) => {
    const article = (visitor * 7919 + position * 104729) % 1000003;
    return `  <li data-article="${article}">Article ${article}, ${(article % 9000) / 100} EUR</li>`;
  });
  const html = `<!doctype html>\n<title>Picked for visitor ${visitor}</title>\n<ul>\n${rows.join('\n')}\n</ul>\n`;
  return {
    // Out of a Buffer the text comes back as one flat string instead of a tree of its pieces.
    html: Buffer.from(html).toString('latin1'),
    etag: `"${crypto.createHash('sha256').update(html).digest('base64url')}"`,
    composedAt: Date.now(),
  };
}

const server = http.createServer((request, response) => {
  request.resume();
  const path = request.url.split('?', 1)[0];
  if (path === '/catalogue') {
    const visitor = recogniseVisitor(request);
    let page = cataloguePages.find(visitor);
    if (page === undefined) {
      page = composeCatalogue(visitor);
      cataloguePages.keep(visitor, page);
    }
    response.writeHead(200, { 'content-type': 'text/html', etag: page.etag, 'set-cookie': `visitor=${visitor}` });
    response.end(page.html);
  } else if (path === '/healthz') {
    response.writeHead(200, { 'content-type': 'text/plain' });
    response.end(`ok, ${cataloguePages.size} pages cached\n`);
  } else {
    response.writeHead(404, { 'content-type': 'text/plain' });
    response.end('no such page\n');
  }
});

server.listen(PORT, '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}/catalogue`);
});

process.once('SIGTERM', () => {
  server.close();
  server.closeIdleConnections();
  setTimeout(() => server.closeAllConnections(), 2000).unref();
});
