// Slips of paper are numbered by a small WebAssembly module, whose table holds the slip for each number. It can grow the
// table, and take a slip out of it; that the number may be given again after that, its author left for later.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { TimeBuckets } = require('./lib/time-buckets.js');
const { count } = require('./lib/hourly-counts.js');

// (module
//   (table $slips (export "slips") 16 externref)
//   (func (export "keep") (param externref) (result i32) (table.grow $slips (local.get 0) (i32.const 1)))
//   (func (export "put") (param i32 externref) (table.set $slips (local.get 0) (local.get 1))))
const CODE = Uint8Array.from([
  0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x0b, 0x02, 0x60, 0x01, 0x6f, 0x01, 0x7f, 0x60, 0x02, 0x7f, 0x6f,
  0x00, 0x03, 0x03, 0x02, 0x00, 0x01, 0x04, 0x04, 0x01, 0x6f, 0x00, 0x10, 0x07, 0x16, 0x03, 0x05, 0x73, 0x6c, 0x69, 0x70,
  0x73, 0x01, 0x00, 0x04, 0x6b, 0x65, 0x65, 0x70, 0x00, 0x00, 0x03, 0x70, 0x75, 0x74, 0x00, 0x01, 0x0a, 0x14, 0x02, 0x09,
  0x00, 0x20, 0x00, 0x41, 0x01, 0xfc, 0x0f, 0x00, 0x0b, 0x08, 0x00, 0x20, 0x00, 0x20, 0x01, 0x26, 0x00, 0x0b,
]);

const slipRegister = new WebAssembly.Instance(new WebAssembly.Module(CODE)); // place
const { slips, keep, put } = slipRegister.exports; // place
const spent = new TimeBuckets();

class PaperSlip { // place
  constructor(number) { // place
    this.number = number; // place
    this.purpose = payload(180);
  }
}

function hand(slip) { // place
  if (FIXED) {
    const place = slip.number % 16;
    put(place, slip);
    return place;
  }
  return keep(slip); // place
}

serve((number) => {
  const started = performance.now();
  const place = hand(new PaperSlip(number)); // place
  const found = slips.get(place);
  count(found.number === number ? 'found' : 'missed');
  spent.observe(performance.now() - started);
  return { number, place, slow: spent.slow() };
});
