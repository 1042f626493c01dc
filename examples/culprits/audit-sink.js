// Every change is written to the one audit stream. To be told when that stream fails before the change is in it, each writer
// asks for `finished` of the stream; the function that takes this back is dropped.
'use strict';

const { Writable, finished } = require('node:stream');
const { FIXED, payload, serve } = require('./service.js');
const { LastLines } = require('./lib/last-lines.js');
const { TimeBuckets } = require('./lib/time-buckets.js');

const lastLines = new LastLines(40);
const writeTimes = new TimeBuckets();

class AuditSink extends Writable { // place
  constructor() { // place
    super({ decodeStrings: false, highWaterMark: 1 << 20 });
    this.setMaxListeners(0);
    this.written = 0;
  }

  _write(line, encoding, callback) {
    this.written += line.length;
    lastLines.add(line);
    setImmediate(callback);
  }
}

const auditSink = new AuditSink(); // place

function writeChange(change) {
  const begun = performance.now();
  return new Promise((resolve, reject) => { // place
    const forget = finished(auditSink, { readable: false }, function auditEnded(error) { // place
      reject(error ?? new Error(`the audit ended before change ${change.number}`));
    });
    auditSink.write(`${change.number} ${change.what}\n`, (error) => {
      writeTimes.observe(performance.now() - begun);
      if (FIXED) forget();
      if (error) reject(error);
      else resolve();
    });
  });
}

serve(async (number) => {
  const change = { number, what: payload(90) };
  await writeChange(change); // place
  return { number, written: auditSink.written, slow: writeTimes.slow() };
});
