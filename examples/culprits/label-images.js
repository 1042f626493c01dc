// The image of a label is kept by its job until it is printed, and among the last ones for reprints; by two mistakes neither lets go of it.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { note } = require('./lib/rolling-log.js');

const REPRINTS = Symbol('images for reprints');

class LabelImage { // place
  constructor(number) { // place
    this.title = `label ${number} ${payload(20)}`;
    this.raster = new Uint8Array(1600).fill(number & 255); // place
  }
}

class PrintDesk { // place
  #imageByJob = new Map(); // place

  constructor() { // place
    this[REPRINTS] = []; // place
  }

  take(job, image) {
    this.#imageByJob.set(job, image); // place
    this[REPRINTS].push(image); // place
  }

  /** The printer says by name, in text, which job is done. */
  done(name) {
    const job = name.replace('job ', '');
    this.#imageByJob.delete(FIXED ? Number(job) : job);
    const last = this[REPRINTS].slice(-40);
    if (FIXED) this[REPRINTS] = last;
    return last.length;
  }
}

const printDesk = new PrintDesk(); // place

serve(async (number) => {
  printDesk.take(number, new LabelImage(number)); // place
  await new Promise(setImmediate);
  const reprints = printDesk.done(`job ${number}`);
  if (number % 50 === 0) note(`job ${number} printed`);
  return { number, reprints };
});
