// A reporting service: CSV is uploaded, filtered, aggregated, and answered as JSON.
//
//   node server.mjs                  subject.mjs; LEAK=listener and so on keep the frame of every upload
//   node server.mjs ./mutants.mjs    another subject of the same shape
//
//   curl --data-binary $'name,age\nann,41\nbob,17' http://127.0.0.1:8080/reports
//
// PORT sets the port (default 8080). A line of log for every 1,000 requests. SIGTERM ends the service after the requests in
// flight.

import http from 'node:http';
import { pathToFileURL } from 'node:url';
import { liveTables, memory } from './dataframe.mjs';

const PORT = Number(process.env.PORT ?? 8080);
const MOST_BYTES = 8 * 1024 * 1024;

const subject = await import(process.argv[2] ? pathToFileURL(process.argv[2]) : './subject.mjs');

let answered = 0;
let refused = 0;
const begun = Date.now();

/** Whatever happens to a frame, it is given back. */
function report(csv) {
  const frame = subject.parse(csv);
  try {
    const part = subject.filter(frame);
    try {
      return subject.aggregate(part);
    } finally {
      subject.dispose(part);
    }
  } finally {
    subject.dispose(frame);
  }
}

/** The body as text, or nothing where it is too long. It is read to its end all the same, so that the answer arrives. */
async function upload(request) {
  const chunks = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += chunk.length;
    if (bytes <= MOST_BYTES) chunks.push(chunk);
    else chunks.length = 0;
  }
  return bytes <= MOST_BYTES ? Buffer.concat(chunks).toString() : undefined;
}

async function answer(request) {
  const path = request.url.split('?', 1)[0];
  if (path === '/healthz') return [200, status()];
  if (path !== '/reports') return [404, { error: 'no such page' }];
  if (request.method !== 'POST') return [405, { error: 'upload CSV by POST' }];
  try {
    const csv = await upload(request);
    if (csv === undefined) return [413, { error: `more than ${MOST_BYTES} bytes` }];
    return [200, report(csv)];
  } catch (error) {
    // What is wrong with the text is its sender's concern; anything else is ours.
    const isBadInput = error.name === 'CsvError' || error instanceof RangeError;
    return [isBadInput ? 400 : 500, { error: error.message }];
  }
}

function status() {
  const megabytes = (bytes) => Math.round((bytes / 2 ** 20) * 10) / 10;
  const { heapUsed, rss } = process.memoryUsage();
  return {
    requests: answered,
    refused,
    frames: liveTables().count,
    heap_mb: megabytes(heapUsed),
    linear_mb: megabytes(memory.buffer.byteLength),
    rss_mb: megabytes(rss),
  };
}

const server = http.createServer(async (request, response) => {
  const [code, body] = await answer(request);
  request.resume();
  if (request.url !== '/healthz') answered += 1;
  if (code >= 400) refused += 1;
  const sent = JSON.stringify(body);
  response.writeHead(code, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(sent) });
  response.end(sent);
  if (answered % 1000 === 0) console.log(`${((Date.now() - begun) / 60_000).toFixed(1)} min`, JSON.stringify(status()));
});

server.listen(PORT, '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}/reports`);
});

process.once('SIGTERM', () => {
  server.close();
  server.closeIdleConnections();
  setTimeout(() => server.closeAllConnections(), 2000).unref();
});
