import { FIXED, serve } from '../../service.js';
import { EntryWriter } from './entry-writer.js';
import { averageBooking, balance } from './ledger.js';
import { runShutdownHooks } from './shutdown.js';

const sizes = { small: 0, middle: 0, large: 0 };

function countSize(cents) {
  if (cents < 1000) sizes.small += 1;
  else if (cents < 100_000) sizes.middle += 1;
  else sizes.large += 1;
}

async function transfer(number, cents) {
  const writer = new EntryWriter(number); // place
  writer.add(number, -cents);
  writer.add(number + 7, cents);
  await new Promise(setImmediate);
  if (FIXED) writer.close();
  else writer.flush();
  return balance(number);
}

process.once('exit', runShutdownHooks);

serve(async (number) => {
  const cents = 1 + ((number * 48_271) % 200_000);
  countSize(cents);
  const left = await transfer(number, cents); // place
  return { transfer: number, left, average: number % 50 === 0 ? averageBooking() : undefined, sizes };
});
