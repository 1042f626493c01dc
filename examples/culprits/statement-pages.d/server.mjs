import service from '../service.js';
import cacheModule from '../lib/bounded-cache.js';
import bucketModule from '../lib/time-buckets.js';
import { StatementReader } from './statements.mjs';

const { FIXED, payload, serve } = service;

const reader = new StatementReader(); // place
process.once('SIGTERM', () => reader.closeAll());

const accounts = new cacheModule.BoundedCache(60);
const pageTimes = new bucketModule.TimeBuckets();
const shownPages = new Uint32Array(4);

function accountOf(number) {
  return accounts.get(`account-${number % 80}`, (name) => ({ name, opening: 5000 + (number % 80) * 11, owner: payload(80) }));
}

/** Stands for the database. */
function entriesOf(number) {
  return Array.from({ length: 14 }, (_, index) => ({ day: index + 1, cents: ((number * 37 + index * 911) % 9000) - 4000 })); // place
}

function firstPage(pages) {
  if (!FIXED) return pages.next().value; // place
  for (const page of pages) return page;
  return undefined;
}

function allPages(pages) {
  const all = [...pages];
  return { ...all.at(-1), page: all.length };
}

serve((number) => {
  const began = performance.now();
  const account = accountOf(number);
  const pages = reader.open(account, entriesOf(number)); // place
  // One in ten prints the whole statement, the others look at the first page.
  const shown = number % 10 === 0 ? allPages(pages) : firstPage(pages); // place
  shownPages[shown.page] += 1;
  pageTimes.observe(performance.now() - began);
  return { account: account.name, balance: shown.balance, entries: shown.entries.length, slow: pageTimes.slow() };
});
