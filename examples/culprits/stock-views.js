// The stock is in an in-memory database; who filters it gets a view of his own, and the database lists the views.
'use strict';

const Loki = require('lokijs');
const { FIXED, payload, serve } = require('./service.js');
const { LatencyWindow } = require('./lib/latency-window.js');
const { count } = require('./lib/hourly-counts.js');

const warehouse = new Loki('warehouse.db', { autosave: false }); // place
const stock = warehouse.addCollection('stock', { indices: ['shelf'] }); // place
for (let article = 0; article < 60; article += 1) {
  stock.insert({ article, shelf: article % 12, pieces: article * 3, label: payload(24) });
}
const filterTimes = new LatencyWindow();

function shelfView(number, shelf) {
  const view = stock.addDynamicView(`shelf ${shelf}, visit ${number}`); // place
  view.applyFind({ shelf });
  return view;
}

serve((number) => {
  // Two in three look at one article.
  if (number % 3 !== 0) return { pieces: stock.findOne({ article: number % 60 }).pieces };
  const began = performance.now();
  const view = shelfView(number, number % 12);
  const rows = view.data().map(({ article, pieces }) => ({ article, pieces }));
  if (FIXED) stock.removeDynamicView(view.name);
  filterTimes.add(performance.now() - began);
  count('filtered');
  return { rows, slow: filterTimes.percentile(0.9) };
});
