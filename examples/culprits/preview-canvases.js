// Canvases for previews are used again: asked for by the width of the profile, which is text, and put back by the number.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');
const { LatencyWindow } = require('./lib/latency-window.js');

/** As they come from the settings of the shop. */
const PROFILES = JSON.parse(`[
  { "name": "phone", "width": "240" },
  { "name": "tablet", "width": "480" },
  { "name": "desk", "width": "720" }
]`);

class PreviewCanvas { // place
  constructor(width) { // place
    this.width = Number(width);
    this.pixels = new Uint8ClampedArray(this.width * 4); // place
    this.uses = 0;
  }

  draw(row) {
    this.uses += 1;
    this.pixels.fill(0);
    for (let at = 0; at < row.length; at += 1) this.pixels[at * 4] = row.charCodeAt(at);
    return this.pixels.reduce((sum, value) => (sum + value) % 65_521, 0);
  }
}

class CanvasPool { // place
  #idleByWidth = new Map(); // place

  borrow(width) {
    const idle = this.#idleByWidth.get(FIXED ? Number(width) : width);
    return idle?.pop() ?? new PreviewCanvas(width); // place
  }

  giveBack(canvas) {
    const idle = this.#idleByWidth.get(canvas.width);
    if (idle === undefined) this.#idleByWidth.set(canvas.width, [canvas]); // place
    else idle.push(canvas); // place
  }
}

const canvasPool = new CanvasPool(); // place
const drawTimes = new LatencyWindow();

serve((number) => {
  const began = performance.now();
  const profile = PROFILES[number % PROFILES.length];
  const canvas = canvasPool.borrow(profile.width); // place
  try {
    return { profile: profile.name, sum: canvas.draw(payload(120)), p90: drawTimes.percentile(0.9) };
  } finally {
    canvasPool.giveBack(canvas); // place
    drawTimes.add(performance.now() - began);
    count(profile.name);
  }
});
