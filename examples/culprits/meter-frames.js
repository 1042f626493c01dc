// Frames of the meters are put one behind the other and read from there; how far it has read, the reader knows by a number.
'use strict';

const { BufferList } = require('bl');
const { FIXED, serve } = require('./service.js');
const { borrow, giveBack } = require('./lib/scratch-pool.js');
const { count } = require('./lib/hourly-counts.js');

const HEAD = 8;
const BODY = 400;

const receivedBytes = new BufferList(); // place
let readUntil = 0;

/** What the radio hands over: a head of meter and length, a body of readings. */
function frameOf(meter) {
  const frame = Buffer.alloc(HEAD + BODY, meter & 127); // place
  frame.writeUInt32BE(meter, 0);
  frame.writeUInt32BE(BODY, 4);
  return frame;
}

function nextFrame() {
  const meter = receivedBytes.readUInt32BE(readUntil);
  const length = receivedBytes.readUInt32BE(readUntil + 4);
  const scratch = borrow();
  receivedBytes.copy(scratch, 0, readUntil + HEAD, readUntil + HEAD + length);
  let sum = 0;
  for (let at = 0; at < length; at += 1) sum += scratch[at];
  giveBack(scratch);
  if (FIXED) receivedBytes.consume(HEAD + length);
  else readUntil += HEAD + length;
  return { meter, sum };
}

serve((number) => {
  receivedBytes.append(frameOf(number)); // place
  count('frame');
  return nextFrame();
});
