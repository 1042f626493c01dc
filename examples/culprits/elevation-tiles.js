// Tiles of the map are kept up to so many bytes; what is put in is counted in samples and what is taken out in bytes.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { LatencyWindow } = require('./lib/latency-window.js');
const { note } = require('./lib/rolling-log.js');

const SIDE = 18;
const MOST_BYTES = 128 * 1024;

class TileShelf { // place
  constructor(mostBytes) { // place
    this.mostBytes = mostBytes;
    this.bytes = 0;
    this.heightsByTile = new Map(); // place
  }

  get(name) {
    return this.heightsByTile.get(name);
  }

  put(name, heights) {
    this.heightsByTile.set(name, heights); // place
    this.bytes += FIXED ? heights.byteLength : heights.length;
    while (this.bytes > this.mostBytes) this.#dropOldest();
  }

  #dropOldest() {
    const [name, heights] = this.heightsByTile.entries().next().value;
    this.heightsByTile.delete(name);
    this.bytes -= heights.byteLength;
  }
}

const tileShelf = new TileShelf(MOST_BYTES); // place
const renderTimes = new LatencyWindow(128);

function readHeights(seed) {
  const heights = new Float32Array(SIDE * SIDE); // place
  for (let at = 0; at < heights.length; at += 1) heights[at] = (seed * 31 + at) % 900;
  return heights;
}

serve((number) => {
  const began = performance.now();
  const name = `12/${number >> 6}/${number & 63}-${payload(8)}`;
  let heights = tileShelf.get(name);
  if (heights === undefined) {
    heights = readHeights(number); // place
    tileShelf.put(name, heights); // place
  }
  renderTimes.add(performance.now() - began);
  if (number % 300 === 0) note(`${tileShelf.bytes} bytes of tiles`);
  return { name, top: Math.max(...heights), slow: renderTimes.percentile(0.95) };
});
