// How full the depots are is in an in-memory collection. It was made with the changes API on, for a copy on another machine
// that would have fetched the changes; the copy was never built.
'use strict';

const Loki = require('lokijs');
const { FIXED, payload, serve } = require('./service.js');
const { LatencyWindow } = require('./lib/latency-window.js');

const stockBase = new Loki('stock.db', { persistenceMethod: 'null' }); // place
const depots = stockBase.addCollection('depots', { unique: ['name'], disableChangesApi: false }); // place

for (let index = 0; index < 40; index++) {
  depots.insert({ name: `depot-${index}`, pallets: 0, remark: '' }); // place
}
depots.flushChanges();

const spent = new LatencyWindow();

function storeGoods(name, pallets) { // place
  const depot = depots.by('name', name);
  depot.pallets += pallets;
  depot.remark = payload(120);
  depots.update(depot); // place
  return depot.pallets;
}

serve((number) => {
  const begun = performance.now();
  const pallets = storeGoods(`depot-${number % 40}`, 1 + (number % 5)); // place
  if (FIXED && number % 64 === 0) depots.flushChanges();
  spent.add(performance.now() - begun);
  return { number, pallets, p90: spent.percentile(0.9) };
});
