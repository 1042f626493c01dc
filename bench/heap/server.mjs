// A service with a large heap that loses a little per request: what `explain.mjs` has explained.
// LIVE_MB sets how much it holds from the start, PORT where it listens.
import http from 'node:http';

class Article { constructor(i) { this.number = i; this.label = `article ${i}`; this.prices = [i, i + 1, { net: i, tax: `${i % 19} %` }]; this.tags = new Set([i % 7, `tag ${i % 101}`]); } }
class Visit { constructor(i) { this.number = i; this.path = `/article/${i}/${'x'.repeat(300)}`; } }

const catalogue = new Map();
const visits = new Map();
const goal = Number(process.env.LIVE_MB ?? 100) * 2 ** 20;
let used = 0;
for (let i = 0; used < goal; i++) {
  catalogue.set(i, new Article(i));
  if (i % 10000 === 0) { globalThis.gc?.(); used = process.memoryUsage().heapUsed; }
}
let number = 0;
http.createServer((request, response) => {
  visits.set(++number, new Visit(number));
  response.end(catalogue.get(number % catalogue.size).label);
}).listen(Number(process.env.PORT), '127.0.0.1');
