// A scan that nobody closes is to be freed by a FinalizationRegistry, but what it is told to hold for that is the scan itself.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { BoundedCache } = require('./lib/bounded-cache.js');
const { TimeBuckets } = require('./lib/time-buckets.js');
const { LastLines } = require('./lib/last-lines.js');

/** Stands for the scanner's driver: 64 slots, of which a scan takes one. */
class ScannerDriver {
  constructor() {
    this.slots = Array.from({ length: 64 }, (_, slot) => ({ slot, taken: false }));
    this.next = 0;
  }

  take() {
    for (let tries = 0; tries < this.slots.length; tries += 1) {
      const slot = this.slots[this.next];
      this.next = (this.next + 1) % this.slots.length;
      if (!slot.taken) {
        slot.taken = true;
        return slot;
      }
    }
    throw new Error('all slots of the scanner are taken');
  }

  free(slot) {
    slot.taken = false;
  }
}

const driver = new ScannerDriver();
const warnings = new LastLines(16);

/** The net below: frees the slots of scans that were forgotten. */
const forgotten = new FinalizationRegistry((release) => { // place
  warnings.add('a scan was not closed');
  release();
});

class PageScan { // place
  constructor(page) { // place
    this.page = page;
    this.slot = driver.take();
    this.lines = Array.from({ length: 6 }, (_, line) => 40 * line + page.margin); // place
    if (FIXED) {
      const slot = this.slot;
      forgotten.register(this, releaserOf(slot), this);
    } else {
      forgotten.register(this, () => this.close()); // place
    }
  }

  text() {
    return `${this.page.title}: lines at ${this.lines.join()}`;
  }

  close() {
    if (this.slot === null) return;
    driver.free(this.slot);
    this.slot = null;
    if (FIXED) forgotten.unregister(this);
  }
}

function releaserOf(slot) {
  return () => driver.free(slot);
}

const folders = new BoundedCache(35);
const scanTimes = new TimeBuckets();

function folderOf(number) {
  return folders.get(`folder-${number % 50}`, (name) => ({ name, shelf: number % 7, label: payload(60) }));
}

serve(async (number) => {
  const began = performance.now();
  const folder = folderOf(number);
  const scan = new PageScan({ title: `${folder.name}, page ${number}`, margin: number % 12, stamp: payload(200) }); // place
  try {
    await new Promise(setImmediate);
    return { text: scan.text(), shelf: folder.shelf, warning: warnings.latest(), slow: scanTimes.slow() };
  } finally {
    scan.close();
    scanTimes.observe(performance.now() - began);
  }
});
