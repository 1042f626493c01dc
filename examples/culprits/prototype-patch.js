// A tracer patches the prototype of the exporter for each request, and what it wraps is the wrapper of the request before.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { note } = require('./lib/rolling-log.js');

class SpanSender {
  constructor() {
    this.sent = 0;
  }

  send(span) {
    this.sent += 1;
    note(`sent ${span.name}`);
  }

  shutDown() {
    return this.sent;
  }
}

const sender = new SpanSender();

function flushAtShutDown(span) {
  const unpatched = SpanSender.prototype.shutDown; // place
  SpanSender.prototype.shutDown = function shutDownWithSpan() { // place
    if (!span.ended) this.send(span);
    return unpatched.call(this);
  };
  return () => {
    SpanSender.prototype.shutDown = unpatched;
  };
}

serve((number) => {
  const span = { name: `GET /rooms/${number}`, attributes: { tenant: number % 30, agent: payload(90) }, ended: false }; // place
  const restore = flushAtShutDown(span);
  sender.send(span);
  span.ended = true;
  if (FIXED) restore();
  return { sent: sender.sent };
});
