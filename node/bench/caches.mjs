/*
 * `BoundedCache` and `ObjectPool` beside what one would use else: CPU ns of an operation and bytes of an entry.
 * `node --expose-gc node/bench/caches.mjs [TURNS]`, after `npm install --prefix target/peers lru-cache quick-lru`.
 *
 * The same accesses in the same order for all, by turns; medians. Keys are drawn so that few are asked often (Zipf, exponent 1).
 * lru-cache has the bounds of ours as far as it knows them (entries, bytes, ttl), quick-lru bounds entries alone.
 */

import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { BoundedCache, ObjectPool } from '../dist/index.mjs';

const require = createRequire(join(dirname(fileURLToPath(import.meta.url)), '../../target/peers/'));
const { LRUCache } = require('lru-cache');
const { default: QuickLRU } = await import(require.resolve('quick-lru'));

const TURNS = Number(process.argv[2] ?? 15);
const ACCESSES = 100_000;
const VALUE = { name: 'a name', rows: [1, 2, 3] };
const BYTES = 200;

let random = 88172645463325252n;
const draw = () => {
  random ^= (random << 13n) & 0xffffffffffffffffn;
  random ^= random >> 7n;
  random ^= (random << 17n) & 0xffffffffffffffffn;
  return Number(random & 0xffffffffn) / 0x1_0000_0000;
};

/** Numbers below `count`, the lower the more often. */
function zipf(count) {
  const sums = new Float64Array(count);
  for (let i = 0, sum = 0; i < count; i++) sums[i] = sum += 1 / (i + 1);
  return Array.from({ length: ACCESSES }, () => {
    const wanted = draw() * sums[count - 1];
    let [low, high] = [0, count - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sums[middle] < wanted) low = middle + 1;
      else high = middle;
    }
    return low;
  });
}

const many = zipf(1_000_000);
const sizeOf = () => BYTES;
/** Caches that keep so many entries of `BYTES` in all, and how they are asked: what is not found is set. */
const setups = {
  '20 entries of a session': {
    keys: zipf(40),
    bounded: () => new BoundedCache({ sizeOf }),
    lru: () => new LRUCache({ max: 20, maxSize: 5 * 1024 * 1024, sizeCalculation: sizeOf }),
    quick: () => new QuickLRU({ maxSize: 20 }),
  },
  '10,000 entries by bytes, the largest goes': {
    keys: many,
    bounded: () => new BoundedCache({ sizeOf, maxEntriesPerSession: Infinity, maxBytes: 10_000 * BYTES }),
    lru: () => new LRUCache({ maxSize: 10_000 * BYTES, sizeCalculation: sizeOf }),
    quick: () => new QuickLRU({ maxSize: 10_000 }),
  },
  '10,000 entries by bytes, lru': {
    keys: many,
    bounded: () => new BoundedCache({ sizeOf, maxEntriesPerSession: Infinity, maxBytes: 10_000 * BYTES, bytesPolicy: 'lru' }),
    lru: () => new LRUCache({ maxSize: 10_000 * BYTES, sizeCalculation: sizeOf }),
    quick: () => new QuickLRU({ maxSize: 10_000 }),
  },
  '10,000 entries by number': {
    keys: many,
    bounded: () => new BoundedCache({ sizeOf, maxEntriesPerSession: 10_000, maxBytes: Infinity }),
    lru: () => new LRUCache({ max: 10_000 }),
    quick: () => new QuickLRU({ maxSize: 10_000 }),
  },
  '10,000 entries by bytes, with a time to live': {
    keys: many,
    bounded: () => new BoundedCache({ sizeOf, maxEntriesPerSession: Infinity, maxBytes: 10_000 * BYTES, ttlMs: 60_000 }),
    lru: () => new LRUCache({ maxSize: 10_000 * BYTES, sizeCalculation: sizeOf, ttl: 60_000 }),
    quick: () => new QuickLRU({ maxSize: 10_000, maxAge: 60_000 }),
  },
};

const get = { bounded: (cache, key) => cache.get('session', key), lru: (cache, key) => cache.get(key), quick: (cache, key) => cache.get(key) };
const set = {
  bounded: (cache, key) => cache.set('session', key, VALUE),
  lru: (cache, key) => cache.set(key, VALUE),
  quick: (cache, key) => cache.set(key, VALUE),
};
const middle = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

/** CPU ns per access and share that was found. */
function drive(kind, cache, keys) {
  let found = 0;
  const begun = process.cpuUsage();
  for (const key of keys) {
    if (get[kind](cache, key) === undefined) set[kind](cache, key);
    else found++;
  }
  const { user, system } = process.cpuUsage(begun);
  return { ns: ((user + system) * 1000) / keys.length, found: found / keys.length };
}

for (const [name, setup] of Object.entries(setups)) {
  const keys = setup.keys.map((number) => `key ${number}`);
  const kinds = ['bounded', 'lru', 'quick'];
  const caches = Object.fromEntries(kinds.map((kind) => [kind, setup[kind]()]));
  for (const kind of kinds) drive(kind, caches[kind], keys);
  const taken = Object.fromEntries(kinds.map((kind) => [kind, []]));
  for (let turn = 0; turn < TURNS; turn++) {
    for (const kind of [...kinds].sort(() => draw() - 0.5)) taken[kind].push(drive(kind, caches[kind], keys));
  }
  const told = kinds.map((kind) => `${kind} ${middle(taken[kind].map(({ ns }) => ns)).toFixed(0)} ns (${(100 * taken[kind][0].found).toFixed(0)} % found)`);
  console.log(`${name.padEnd(46)} ${told.join('   ')}`);
}

if (globalThis.gc) {
  const bytes = (fill) => {
    const before = (gc(), gc(), process.memoryUsage().heapUsed);
    const cache = fill();
    const after = (gc(), gc(), process.memoryUsage().heapUsed);
    return cache && (after - before) / 10_000;
  };
  const keys = Array.from({ length: 10_000 }, (_, i) => `key ${i}`);
  const filled = (kind, make) => () => {
    const cache = make();
    for (const key of keys) set[kind](cache, key);
    return cache;
  };
  const each = {
    bounded: bytes(filled('bounded', () => new BoundedCache({ sizeOf, maxEntriesPerSession: Infinity, maxBytes: 10_000 * BYTES }))),
    lru: bytes(filled('lru', () => new LRUCache({ maxSize: 10_000 * BYTES, sizeCalculation: sizeOf }))),
    quick: bytes(filled('quick', () => new QuickLRU({ maxSize: 10_000 }))),
  };
  console.log(`bytes an entry takes, key and value apart${' '.repeat(6)} ${Object.entries(each).map(([kind, b]) => `${kind} ${b.toFixed(0)}`).join('   ')}`);
}

const pool = new ObjectPool(() => ({ buffer: new Array(16).fill(0) }));
const pooled = () => {
  const begun = process.cpuUsage();
  for (let i = 0; i < ACCESSES; i++) pool.release(pool.acquire());
  const { user, system } = process.cpuUsage(begun);
  return ((user + system) * 1000) / ACCESSES;
};
pooled();
console.log(`${'an object out of the pool and back'.padEnd(46)} ${middle(Array.from({ length: TURNS }, pooled)).toFixed(0)} ns`);
