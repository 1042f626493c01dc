// The log lines of a request flow through a stream of its own into the one log; nobody ends it, so the log never lets go of it.
'use strict';

const { Transform, Writable } = require('node:stream');
const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');

class AccessLog extends Writable {
  _write(chunk, _encoding, done) {
    count(chunk.length > 200 ? 'long line' : 'line');
    done();
  }
}

class LinePrefix extends Transform { // place
  constructor(prefix) { // place
    super();
    this.prefix = prefix;
  }

  _transform(chunk, _encoding, done) {
    done(null, `${this.prefix} ${chunk}`);
  }
}

const accessLog = new AccessLog(); // place
accessLog.setMaxListeners(0);

serve(async (number) => {
  const lines = new LinePrefix(`[request ${number}]`); // place
  lines.pipe(accessLog, { end: false }); // place
  lines.write(`begins ${payload(60)}\n`);
  await new Promise(setImmediate);
  lines.write('is answered\n');
  if (FIXED) lines.end();
  return { number };
});
