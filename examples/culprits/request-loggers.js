// A request that is traced gets a logger of its own, which is piped into the one transport and never closed.
'use strict';

const { Writable } = require('node:stream');
const winston = require('winston');
const { FIXED, payload, serve } = require('./service.js');
const { LatencyWindow } = require('./lib/latency-window.js');

const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
const traceTransport = new winston.transports.Stream({ stream: nowhere }); // place
const everyday = winston.createLogger({ transports: [traceTransport] });
const latencies = new LatencyWindow();

function loggerFor(number) {
  const trace = { request: number, trace: payload(120) };
  if (FIXED) return everyday.child(trace);
  return winston.createLogger({ // place
    level: 'info',
    format: winston.format.json(),
    defaultMeta: trace,
    transports: [traceTransport], // place
  });
}

serve((number) => {
  const begin = performance.now();
  // One request in ten is traced.
  const logger = number % 10 === 0 ? loggerFor(number) : everyday;
  logger.info('parcel looked up');
  latencies.add(performance.now() - begin);
  return { p95: latencies.percentile(0.95) };
});
