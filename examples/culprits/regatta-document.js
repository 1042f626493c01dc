// Who leads the regatta is in a document that the boats share; it was set up to keep all history, as the demo did.
'use strict';

const Y = require('yjs');
const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');
const { note } = require('./lib/rolling-log.js');

const regatta = new Y.Doc({ gc: FIXED }); // place
const standings = regatta.getMap('standings'); // place
const boats = Array.from({ length: 24 }, (_, boat) => ({ boat, sail: payload(12), crew: 2 + (boat % 4) }));

let updates = 0;
let sentBytes = 0;

regatta.on('update', (update) => {
  updates += 1;
  sentBytes += update.length;
  if (updates % 500 === 0) note(`${sentBytes} bytes sent in ${updates} updates`);
});

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** The committee's reports are signed, so that they are passed on as the bytes that they are. */
function encodeReport(boat, leg) {
  return encoder.encode(JSON.stringify({ boat: boat.boat, leg, at: Date.now(), signature: payload(200) })); // place
}

function report(boat, leg) {
  regatta.transact(() => { // place
    standings.set('leader', encodeReport(boat, leg)); // place
  }, 'committee');
}

serve((number) => {
  const boat = boats[(number * 7) % boats.length];
  report(boat, number % 9); // place
  const leader = JSON.parse(decoder.decode(standings.get('leader')));
  count(`leg ${leader.leg}`);
  return { sail: boats[leader.boat].sail, leg: leader.leg };
});
