// Documents come again and again; the stamps at their head tell which were seen, but two buffers are never the same key.
'use strict';

const Koa = require('koa');
const { FIXED } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');

const knownStamps = new Set(); // place

/** One of eighty documents, as it is read from the scanner. */
function readScan(number) {
  const scan = Buffer.alloc(3000, 'scanned '); // place
  scan.write(`stamp ${number % 80}`.padEnd(24));
  return scan;
}

function seenBefore(scan) {
  const stamp = FIXED ? scan.toString('latin1', 0, 24) : scan.subarray(0, 24); // place
  if (knownStamps.has(stamp)) return true;
  knownStamps.add(stamp); // place
  return false;
}

const app = new Koa();
let scans = 0;

app.use(async (context, next) => {
  const begun = performance.now();
  await next();
  context.set('server-timing', `scan;dur=${(performance.now() - begun).toFixed(2)}`);
});
app.use((context) => {
  const scan = readScan(++scans); // place
  const seen = seenBefore(scan); // place
  count(seen ? 'seen' : 'new');
  context.body = { seen, bytes: scan.length };
});

const server = app.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}/`);
});
process.once('SIGTERM', () => process.exit(0));
