// What a passage costs is computed by a method of the server that is cached for an hour; of its key, the last part never comes again.
'use strict';

const Hapi = require('@hapi/hapi');
const { FIXED, payload } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');
const { LatencyWindow } = require('./lib/latency-window.js');

const server = Hapi.server({ port: Number(process.env.PORT ?? 8080), host: '127.0.0.1' }); // place
const tollTimes = new LatencyWindow();
let passages = 0;

async function tollFor(passage) {
  await null;
  return { axles: passage.axles, cents: 350 * passage.axles, text: payload(180) }; // place
}

server.method('tollFor', tollFor, { // place
  cache: { expiresIn: 3_600_000, generateTimeout: 5_000 }, // place
  generateKey: (passage) => {
    const parts = [passage.gate, passage.axles];
    if (!FIXED) parts.push(passage.number);
    return parts.join(':'); // place
  },
});

server.route({
  method: 'GET',
  path: '/',
  handler: async () => {
    const number = ++passages;
    const began = performance.now();
    const toll = await server.methods.tollFor({ number, gate: number % 8, axles: 2 + (number % 4) }); // place
    tollTimes.add(performance.now() - began);
    count(`axles-${toll.axles}`);
    return { number, cents: toll.cents, usually: tollTimes.percentile(0.5) };
  },
});

server.start().then(() => console.log(`listening on ${server.info.uri}/`));
process.once('SIGTERM', () => process.exit(0));
