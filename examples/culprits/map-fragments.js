// Soundings come in three pieces, each with a number and a check. When the last is there they are put together and handed
// on. A boat that is out of reach after two of them starts again later, under a new number; its first two pieces wait.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { LatencyWindow } = require('./lib/latency-window.js');
const { count } = require('./lib/hourly-counts.js');

class FragmentBoard { // place
  #boats = new Map(); // place

  constructor() { // place
    this.sizes = new LatencyWindow(128);
    this.whole = 0;
  }

  add(boat, sounding, index, piece) {
    let soundings = this.#boats.get(boat);
    if (soundings === undefined) this.#boats.set(boat, (soundings = new Map())); // place
    let pieces = soundings.get(sounding);
    if (pieces === undefined) soundings.set(sounding, (pieces = [])); // place
    pieces[index] = piece; // place
    if (pieces.filter(Boolean).length < 3) return;
    this.sizes.add(Buffer.concat(pieces).length);
    this.whole += 1;
    soundings.delete(sounding);
  }

  startAgain(boat, sounding) {
    if (FIXED) this.#boats.get(boat)?.delete(sounding);
  }
}

const board = new FragmentBoard(); // place

function receive(text) { // place
  const piece = Buffer.allocUnsafeSlow(text.length); // place
  piece.write(text, 'latin1');
  return piece;
}

serve((number) => {
  const boat = `boat-${number % 9}`;
  const lost = `${number}-a`;
  board.add(boat, lost, 0, receive(payload(400))); // place
  board.add(boat, lost, 1, receive(payload(300))); // place
  board.startAgain(boat, lost);
  for (let index = 0; index < 3; index++) board.add(boat, `${number}-b`, index, receive(payload(300)));
  count(`boat ${number % 9}`);
  return { number, whole: board.whole, median: board.sizes.percentile(0.5) };
});
