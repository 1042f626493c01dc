// Of each label that is uploaded, eight bytes are kept for the night's comparison; they are a slice, and keep the whole upload.
'use strict';

const crypto = require('node:crypto');
const { FIXED, payload, serve } = require('./service.js');
const { BoundedCache } = require('./lib/bounded-cache.js');
const { TimeBuckets } = require('./lib/time-buckets.js');

const SEAL_BYTES = 8;
const SEALS_KEPT = 200_000; // 1.6 MB at most, it was thought
const SEEN_LATELY = 40;

/** The seals of the last labels, in a ring. */
class SealRing { // place
  constructor(size) {
    this.size = size;
    this.added = 0;
    if (FIXED) this.bytes = Buffer.alloc(size * SEAL_BYTES);
    else this.seals = []; // place
  }

  add(seal) {
    const slot = this.added % this.size;
    if (FIXED) seal.copy(this.bytes, slot * SEAL_BYTES);
    else this.seals[slot] = seal; // place
    this.added += 1;
  }

  at(index) {
    const slot = index % this.size;
    return FIXED ? this.bytes.subarray(slot * SEAL_BYTES, (slot + 1) * SEAL_BYTES) : this.seals[slot];
  }

  /** Whether the label came a moment ago: some scanners send twice. */
  seenLately(seal) {
    for (let index = this.added - 1; index >= Math.max(0, this.added - SEEN_LATELY); index -= 1) {
      if (this.at(index).equals(seal)) return true;
    }
    return false;
  }
}

const sealRing = new SealRing(SEALS_KEPT); // place
const printers = new BoundedCache(30);
const uploadTimes = new TimeBuckets();
const bytesByPrinter = new Float64Array(40);

/** Stands for the body of the request: a seal, then the picture of the label. */
function receiveUpload(number) {
  const upload = crypto.randomBytes(2200 + (number % 16) * 40); // place
  upload.writeUInt32BE(number, 0);
  return upload;
}

function sealOf(upload) {
  return upload.subarray(0, SEAL_BYTES); // place
}

/** How dark the label is: printers run dry. */
function darkness(upload) {
  let sum = 0;
  for (let at = SEAL_BYTES; at < upload.length; at += 16) sum += upload[at];
  return Math.round(sum / (upload.length / 16));
}

function printerOf(number) {
  return printers.get(number % 40, (index) => ({ index, name: `printer-${index}`, driver: payload(140) }));
}

serve((number) => {
  const began = performance.now();
  const printer = printerOf(number);
  const upload = receiveUpload(number); // place
  const seal = sealOf(upload); // place
  const twice = sealRing.seenLately(seal);
  if (!twice) sealRing.add(seal); // place
  bytesByPrinter[printer.index] += upload.length;
  uploadTimes.observe(performance.now() - began);
  return { printer: printer.name, twice, darkness: darkness(upload), bytes: bytesByPrinter[printer.index], slow: uploadTimes.slow() };
});
