// A service with a large heap that loses a little per request: what `explain.mjs` has explained.
// LIVE_MB sets how much it holds from the start, PORT where it listens. Its strings are what parsers make: one piece each.
import http from 'node:http';

class Visit { constructor(i, path) { this.number = i; this.path = path; } }

const article = (i) =>
  JSON.parse(JSON.stringify({
    number: i, label: `article ${i} of the catalogue`, prices: [i, i + 1, { net: i * 1.5, tax: `${i % 19} %` }],
    tags: [`tag ${i % 101}`, `group ${i % 7}`], text: `words about ${i} `.repeat(12),
  }));
const catalogue = new Map();
const visits = new Map();
const goal = Number(process.env.LIVE_MB ?? 100) * 2 ** 20;
let used = 0;
for (let i = 0; used < goal; i++) {
  catalogue.set(i, article(i));
  if (i % 10000 === 0) { globalThis.gc?.(); used = process.memoryUsage().heapUsed; }
}
let number = 0;
http.createServer((request, response) => {
  visits.set(++number, new Visit(number, request.url));
  response.end(catalogue.get(number % catalogue.size).label);
}).listen(Number(process.env.PORT), '127.0.0.1');
