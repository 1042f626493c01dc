// A glaze can be asked for while the kiln is hot; whoever asks also wants to know when it has cooled, which is at the week-end.
// The answer does not wait for that, and what waits is not called off with it.
'use strict';

const { EventEmitter, once } = require('node:events');
const { FIXED, payload, serve } = require('./service.js');
const { BoundedCache } = require('./lib/bounded-cache.js');
const { LastLines } = require('./lib/last-lines.js');

class Kiln extends EventEmitter { // place
  constructor() { // place
    super(); // place
    this.setMaxListeners(0);
    this.degrees = 1040;
  }

  get state() {
    return this.degrees > 60 ? 'hot' : 'cool';
  }
}

const kiln = new Kiln(); // place
const recipes = new BoundedCache(40);
const lines = new LastLines();

async function unloadWhenCool(piece, signal) { // place
  await once(kiln, 'cooled', { signal }); // place
  piece.unloaded = new Date();
  lines.add(`unloaded ${piece.id}`);
}

serve(async (number) => {
  const piece = { id: number, glaze: payload(120) };
  const recipe = recipes.get(number % 60, (key) => `recipe ${key}: ${payload(40)}`);
  const answered = new AbortController();
  unloadWhenCool(piece, answered.signal).catch((error) => { // place
    if (error.name !== 'AbortError') throw error;
  });
  lines.add(`${piece.id} goes in by ${recipe}`);
  if (FIXED) answered.abort();
  return { id: piece.id, state: kiln.state };
});
