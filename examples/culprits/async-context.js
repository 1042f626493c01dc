// Exporters are bound to the context of their request and wait for a flush that does not come.
'use strict';

const { AsyncLocalStorage, AsyncResource } = require('node:async_hooks');
const { FIXED, payload, serve } = require('./service.js');

class RequestContext { // place
  constructor(number) { // place
    this.number = number;
    this.trace = payload();
  }
}

const contexts = new AsyncLocalStorage();
const spanExporters = []; // place

serve((number) =>
  contexts.run(new RequestContext(number), () => { // place
    const exportSpan = () => contexts.getStore()?.number; // place
    spanExporters.push(AsyncResource.bind(exportSpan)); // place
    if (FIXED) spanExporters.splice(0).forEach((run) => run());
    return { number };
  }),
);
