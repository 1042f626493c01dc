import { FIXED, payload, serve } from '../service.js';
import { LatencyWindow } from '../lib/latency-window.js';
import { UnitOfWork, type Entity } from './unit-of-work';

class BaptismRecord implements Entity { // place
  corrections = 0;

  constructor(readonly id: string, readonly entry: string, readonly year: number) {} // place

  correct(): void {
    this.corrections += 1;
  }
}

let stored = 0;
const storeAll = async (records: readonly BaptismRecord[]): Promise<void> => {
  await null;
  stored += records.length;
};

const wholeService = new UnitOfWork<BaptismRecord>(storeAll); // place
const storeTimes = new LatencyWindow();

serve(async (number: number) => {
  const work = FIXED ? new UnitOfWork<BaptismRecord>(storeAll) : wholeService;
  const record = work.load(`1820/${number}`, (id) => new BaptismRecord(id, payload(280), 1820 + (number % 60))); // place
  if (number % 4 === 0) {
    record.correct();
    work.changed(record);
  }
  const began = performance.now();
  const changes = await work.flush();
  storeTimes.add(performance.now() - began);
  return { id: record.id, year: record.year, changes, stored, slow: storeTimes.percentile(0.9) };
});
