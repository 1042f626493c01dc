// A shortener of links on Bun that remembers every visit.
//
//   bun server.mjs            every visit is kept
//   bun server.mjs --fixed    only the last 200
//
// PORT sets the port (default 8080). SIGTERM ends the service after the requests in flight.

const FIXED = process.argv.includes('--fixed');
const PORT = Number(process.env.PORT ?? 8080);
const VISITS_KEPT = 200;

class Visit {
  constructor(link, request) {
    this.link = link;
    this.agent = String(request.headers.get('user-agent'));
    this.at = performance.now();
    this.trail = [link, `${link}/seen`];
  }
}

const visitLog = [];

function note(visit) {
  visitLog.push(visit);
  if (FIXED && visitLog.length > VISITS_KEPT) visitLog.shift();
}

const server = Bun.serve({
  port: PORT,
  hostname: '127.0.0.1',
  routes: {
    '/healthz': () => new Response(`ok, ${visitLog.length} visits kept\n`),
    '/l/:link': (request) => {
      const { link } = request.params;
      note(new Visit(link, request));
      return Response.json({ link, leadsTo: `https://example.org/${encodeURIComponent(link)}` });
    },
  },
  fetch: () => new Response('no such page\n', { status: 404 }),
});

console.log(`listening on ${server.url}l/start`);

process.once('SIGTERM', () => server.stop());
