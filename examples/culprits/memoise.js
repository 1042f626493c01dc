// A function is rememberedRoutes by the JSON of its arguments, and one argument carries the time of the request.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { note } = require('./lib/rolling-log.js');

function memoise(work, keyOf = (...given) => JSON.stringify(given)) {
  const rememberedRoutes = Object.create(null); // place
  return (...given) => {
    const key = keyOf(...given);
    if (!(key in rememberedRoutes)) rememberedRoutes[key] = work(...given); // place
    return rememberedRoutes[key];
  };
}

class FerryRoute { // place
  constructor(from, to) { // place
    this.harbours = [from, to];
    this.prices = Array.from({ length: 4 }, (_, deck) => 20 + deck * from.length);
    this.remark = payload(80);
  }
}

const HARBOURS = ['Kiel', 'Oslo', 'Turku', 'Ystad', 'Gedser', 'Rostock', 'Tallinn', 'Visby', 'Trelleborg', 'Puttgarden'];

const routeFor = memoise(
  (query) => new FerryRoute(query.from, query.to), // place
  FIXED ? (query) => `${query.from}-${query.to}` : undefined,
);

serve((number) => {
  const query = { from: HARBOURS[number % 10], to: HARBOURS[(number * 7 + 3) % 10], asked: performance.now(), number };
  const route = routeFor(query);
  note(`${query.from} to ${query.to}`);
  return { prices: route.prices };
});
