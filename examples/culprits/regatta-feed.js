// The positions of a regatta, one stream for the whole day. Each page of a spectator gets what is in the stream now,
// by a stream of its own that it is piped into.
'use strict';

const { PassThrough, Writable } = require('node:stream');
const { FIXED, payload, serve } = require('./service.js');

const BOATS = 24;
const LEGS = ['start', 'windward', 'wing', 'leeward', 'finish'];

/** Runs all day; spectators come and go. */
const positionFeed = new PassThrough({ objectMode: true, highWaterMark: 64 }); // place
positionFeed.setMaxListeners(0);

class SpectatorPage extends Writable { // place
  constructor(number) { // place
    super({ objectMode: true, highWaterMark: 16 }); // place
    this.number = number;
    this.token = payload(100);
    this.seen = 0;
    this.last = undefined;
  }

  _write(position, encoding, done) {
    this.seen += 1;
    this.last = position;
    done();
  }
}

const standings = new Map();
const legCounts = new Uint32Array(LEGS.length);
const waits = { short: 0, long: 0 };

/** The buoys report: the boat has come so far. */
function report(boat, leg) {
  const position = { boat, leg: LEGS[leg], at: Date.now() };
  standings.set(boat, position);
  legCounts[leg] += 1;
  positionFeed.write(position);
}

function leader() {
  let ahead;
  for (const position of standings.values()) {
    if (!ahead || LEGS.indexOf(position.leg) > LEGS.indexOf(ahead.leg)) ahead = position;
  }
  return ahead;
}

/** What comes in within the moment that the page is being made. */
async function lookAtFeed(number) {
  const page = new SpectatorPage(number); // place
  positionFeed.pipe(page); // place
  const began = performance.now();
  await new Promise(setImmediate);
  if (performance.now() - began < 2) waits.short += 1;
  else waits.long += 1;
  if (FIXED) {
    positionFeed.unpipe(page);
    page.destroy();
  }
  return { token: page.token, seen: page.seen };
}

// Somebody always reads along, so that the feed never stands still.
positionFeed.on('data', () => {});
for (let boat = 0; boat < BOATS; boat += 1) report(boat, 0);

serve(async (number) => {
  if (number % 500 === 0) report((number / 500) % BOATS, Math.min(LEGS.length - 1, Math.floor(number / 4000)));
  const { token, seen } = await lookAtFeed(number); // place
  return { page: number, token: token.slice(0, 8), seen, leader: leader().boat, short: waits.short };
});
