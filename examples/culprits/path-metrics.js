// Durations go to a prom-client histogram by path; the label is the path as it was asked for, with the parcel's code in it.
'use strict';

const { Counter, Gauge, Histogram, Registry } = require('prom-client');
const { FIXED, payload, serve } = require('./service.js');
const { BoundedCache } = require('./lib/bounded-cache.js');
const { LastLines } = require('./lib/last-lines.js');

const registry = new Registry();

const answered = new Counter({
  name: 'parcels_answered_total',
  help: 'Answers by depot and outcome',
  labelNames: ['depot', 'outcome'],
  registers: [registry],
});

const parcelsOnWay = new Gauge({
  name: 'parcels_on_way',
  help: 'Parcels that left a depot and are not delivered',
  registers: [registry],
});

const seconds = new Histogram({ // place
  name: 'http_request_seconds',
  help: 'How long answers took',
  labelNames: ['method', 'path'], // place
  buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2],
  registers: [registry],
});

const ROUTES = [
  { name: '/parcels/:code', pattern: /^\/parcels\/([0-9a-z-]+)$/, answer: showParcel },
  { name: '/depots/:depot', pattern: /^\/depots\/([0-9]+)$/, answer: showDepot },
];

const depots = new BoundedCache(25);
const scans = new LastLines(48);

function depotOf(number) {
  return depots.get(`depot-${number % 32}`, (name) => ({ name, gates: 12, address: payload(120) }));
}

function showParcel(code) {
  const number = Number.parseInt(code, 10);
  const depot = depotOf(number);
  scans.add(`${number} seen at ${depot.name}`);
  if (number % 2 === 0) parcelsOnWay.inc();
  else parcelsOnWay.dec();
  answered.inc({ depot: depot.name, outcome: number % 7 === 0 ? 'late' : 'in time' });
  return { depot: depot.name, gate: number % depot.gates, seal: payload(40) };
}

function showDepot(depot) {
  return { gates: depotOf(Number(depot)).gates, latest: scans.latest() };
}

/** Routes a request and takes its time. */
function route(method, path) {
  const began = process.hrtime.bigint();
  for (const { name, pattern, answer } of ROUTES) {
    const match = pattern.exec(path);
    if (match !== null) {
      const result = answer(match[1]);
      const took = Number(process.hrtime.bigint() - began) / 1e9;
      seconds.observe({ method, path: FIXED ? name : path }, took); // place
      return result;
    }
  }
  return { error: 'not found' };
}

serve(async (number, request) => {
  if (request.url === '/metrics') return { metrics: await registry.metrics() };
  // The front door asks for one parcel; now and then someone looks at a depot.
  if (number % 25 === 0) return route('GET', `/depots/${number % 32}`);
  return route('GET', `/parcels/${number}-${payload(16)}`); // place
});
