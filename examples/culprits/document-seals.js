// Each document is sealed with the seal before it, one after the other; of that one only the digest is needed.
'use strict';

const crypto = require('node:crypto');
const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');
const { note } = require('./lib/rolling-log.js');

class DocumentSeal { // place
  #previous;
  #title;

  constructor(title, previous) { // place
    this.#title = title;
    this.#previous = FIXED && previous ? { digest: previous.digest } : previous; // place
    this.at = Date.now();
    this.digest = crypto
      .createHash('sha256')
      .update(this.#previous?.digest ?? 'the first')
      .update(title)
      .digest('base64');
  }

  follows(digest) {
    return this.#previous?.digest === digest;
  }

  toString() {
    return `${this.#title.slice(0, 20)}: ${this.digest}`;
  }
}

/** The seal of the document that came last; the next waits for it. */
let lastSeal = Promise.resolve(new DocumentSeal('opening', undefined)); // place

/** Stands for the clock of the authority. */
async function stamped() {
  await new Promise(setImmediate);
}

function seal(title) {
  const sealed = lastSeal.then(async (previous) => { // place
    await stamped();
    return new DocumentSeal(title, previous); // place
  });
  lastSeal = sealed; // place
  return sealed;
}

serve(async (number) => {
  const sealed = await seal(`document ${number} ${payload(150)}`); // place
  count('sealed');
  if (number % 200 === 0) note(String(sealed));
  return { digest: sealed.digest };
});
