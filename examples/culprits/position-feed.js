// The map asks for the position of a ship: an iterator gives the last one known and would go on; nobody tells it to stop.
'use strict';

const diagnostics_channel = require('node:diagnostics_channel');
const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');
const { note } = require('./lib/rolling-log.js');

const fleetPositions = diagnostics_channel.channel('fleet:position'); // place
const lastKnown = new Map();
for (let ship = 0; ship < 50; ship += 1) lastKnown.set(ship, { ship, north: 53 + ship / 100, east: 8 + ship / 90 });

fleetPositions.subscribe((position) => {
  lastKnown.set(position.ship, position);
  note(`ship ${position.ship} is at ${position.north}`);
});

/** The positions of one ship, from the last one known on. */
async function* positionsOf(ship, viewer) { // place
  let latest = lastKnown.get(ship);
  let wake;
  const onPosition = (position) => { // place
    if (position.ship !== ship) return;
    latest = { ...position, viewer };
    wake?.();
  };
  fleetPositions.subscribe(onPosition); // place
  try {
    for (;;) {
      if (latest === undefined) await new Promise((resolve) => { wake = resolve; });
      const position = latest;
      latest = undefined;
      yield position;
    }
  } finally {
    fleetPositions.unsubscribe(onPosition);
  }
}

async function whereIs(ship, viewer) {
  const positions = positionsOf(ship, viewer); // place
  const { value } = await positions.next(); // place
  if (FIXED) await positions.return();
  return value;
}

serve(async (number) => {
  if (number % 2000 === 0) fleetPositions.publish({ ship: (number / 2000) % 50, north: 54, east: 8 });
  const viewer = { number, layers: payload(150) }; // place
  const { ship, north, east } = await whereIs(number % 50, viewer); // place
  count('asked');
  return { ship, north, east };
});
