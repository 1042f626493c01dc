// The ring of the last frames is written at a position that is never brought back to its start.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { borrow, giveBack } = require('./lib/scratch-pool.js');

class FrameRing {
  constructor(size) {
    this.size = size;
    this.slots = new Array(size); // place
    this.position = 0;
  }

  add(frame) {
    this.slots[this.position] = frame; // place
    this.position += 1;
    if (FIXED && this.position === this.size) this.position = 0;
  }

  latest() {
    return this.slots[(this.position || this.slots.length) - 1];
  }
}

const frameRing = new FrameRing(128); // place

function encodeFrame(number) {
  const scratch = borrow();
  const length = scratch.write(`${number}:${payload(700)}`, 'latin1');
  const frame = Buffer.alloc(length); // place
  scratch.copy(frame, 0, 0, length);
  giveBack(scratch);
  return frame;
}

serve((number) => {
  frameRing.add(encodeFrame(number)); // place
  return { bytes: frameRing.latest().length };
});
