// A parcel service with twelve endpoints, two of which keep something from every request.
//
//   node server.js                two endpoints leak about 100 bytes per request each
//   node server.js --fixed        none does
//
// PORT sets the port (default 8080). SIGTERM ends the service after the requests in flight.
'use strict';

const http = require('node:http');

const FIXED = process.argv.includes('--fixed');
const PORT = Number(process.env.PORT ?? 8080);

/** Labels that were printed, "for the audit" that never came. */
const printedLabels = [];
/** Where couriers were seen, by the number of the report. */
const courierSightings = [];
let reports = 0;

const depots = Array.from({ length: 40 }, (_, i) => ({ depot: i, town: `Town ${i}`, capacity: 100 + (i * 37) % 400 }));

const pages = {
  '/parcels': () => depots.slice(0, 20).map(({ depot }) => ({ parcel: depot * 7919, depot })),
  '/parcels/heavy': () => depots.filter(({ capacity }) => capacity > 300),
  '/parcels/lost': () => [],
  '/depots': () => depots,
  '/depots/full': () => depots.filter(({ capacity }) => capacity < 150),
  '/prices': () => ({ small: 390, middle: 690, large: 1190 }),
  '/labels': () => {
    const label = { parcel: printedLabels.length, depot: printedLabels.length % 40, weight: 1.5 };
    // The object, its double and its place in the array: about 80 bytes, more while the array grows.
    if (!FIXED) printedLabels.push(label);
    return { label: label.parcel % 1000 };
  },
  '/couriers': () => depots.map(({ depot }) => `courier-${depot}`),
  '/couriers/where': () => {
    reports += 1;
    const sighting = { courier: reports % 40, x: reports * 0.25, y: reports * 0.75 };
    if (!FIXED) courierSightings.push(sighting);
    return { courier: sighting.courier };
  },
  '/calendar': () => Array.from({ length: 31 }, (_, day) => ({ day, open: day % 7 < 5 })),
  '/statistics': () => ({ total: depots.reduce((sum, { capacity }) => sum + capacity, 0) }),
  '/imprint': () => ({ name: 'Parcel desk', since: 1998 }),
};

const server = http.createServer((request, response) => {
  const path = request.url.split('?')[0];
  if (path === '/healthz') {
    response.end(`ok, ${printedLabels.length} labels, ${courierSightings.length} sightings\n`);
    return;
  }
  const page = Object.hasOwn(pages, path) ? pages[path] : undefined;
  if (page === undefined) {
    response.writeHead(404).end('not found\n');
    return;
  }
  const body = JSON.stringify(page());
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
  response.end(body);
});

server.listen(PORT, '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}/`);
});
process.once('SIGTERM', () => server.close());
