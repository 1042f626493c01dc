// Each visitor's stream is piped from one ticker, and never taken off it again.
'use strict';

const { PassThrough, Readable } = require('node:stream');
const { FIXED, payload, serve } = require('./service.js');

const marketTicker = new Readable({ read() {} });
marketTicker.setMaxListeners(0);

class VisitorStream extends PassThrough { // place
  constructor(number) { // place
    super();
    this.visitor = `${number} ${payload(200)}`;
  }
}

serve((number) => {
  const stream = new VisitorStream(number); // place
  marketTicker.pipe(stream); // place
  if (FIXED) {
    marketTicker.unpipe(stream);
    stream.destroy();
  }
  return { number };
});
