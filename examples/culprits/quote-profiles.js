// How long a quote takes is logged with winston's profiler, which is told a name twice: at the start and at the end. The name
// has the quote's state in it, and that changes between the two.
'use strict';

const { Writable } = require('node:stream');
const winston = require('winston');
const { FIXED, payload, serve } = require('./service.js');
const { LastLines } = require('./lib/last-lines.js');

const lines = new LastLines(50);
const page = new Writable({
  write(line, encoding, callback) {
    lines.add(line.toString());
    callback();
  },
});

const quoteLog = winston.createLogger({ // place
  level: 'info',
  format: winston.format.simple(),
  transports: [new winston.transports.Stream({ stream: page })],
});

class Quote {
  constructor(number) {
    this.reference = `${number}-${payload(24)}`;
    this.state = 'asked';
  }

  get title() {
    return FIXED ? `quote ${this.reference}` : `${this.state} quote ${this.reference}`; // place
  }

  work() {
    this.price = 100 + (this.reference.length % 13);
    this.state = 'quoted';
  }
}

serve((number) => {
  const quote = new Quote(number);
  quoteLog.profile(quote.title); // place
  quote.work();
  quoteLog.profile(quote.title); // place
  if (number % 10 === 0) quoteLog.info(`quote ${number} is ${quote.state}`);
  return { number, price: quote.price, log: lines.latest().length };
});
