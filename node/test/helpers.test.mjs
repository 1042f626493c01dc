/* Bounded cache, pool, lazy and weak helpers, size estimate: vectors, properties, and what they keep. */

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { BoundedCache, ObjectPool, WeakValueMap, cacheKey, expectCollected, lazy, sizeOf } from 'plimsoll';

const vectors = new URL('../../testdata/bounded-cache/', import.meta.url);

for (const file of readdirSync(vectors).filter((name) => name.endsWith('.json'))) {
  const { why, options, steps } = JSON.parse(readFileSync(new URL(file, vectors), 'utf8'));
  test(`bounded cache, ${file}: ${why}`, () => {
    let now = 0;
    let evicted = [];
    const cache = new BoundedCache({ ...options, sizeOf: (bytes) => bytes, now: () => now });
    cache.on('evict', ({ id, reason, session, key, value, bytes }) => {
      assert.equal(id, cacheKey(session, key));
      assert.equal(value, bytes);
      evicted.push([id, reason]);
    });
    steps.forEach((step, index) => {
      now = step.at_ms ?? now;
      evicted = [];
      const where = `step ${index}: ${JSON.stringify(step)}`;
      if (step.set) assert.equal(cache.set(...step.set), step.stored, where);
      else if (step.get) assert.equal(cache.get(...step.get) !== undefined, step.hit, where);
      else if (step.has) assert.equal(cache.has(...step.has), step.found, where);
      else if (step.delete) assert.equal(cache.delete(...step.delete), step.removed, where);
      else if (step.clear !== undefined) cache.clear(step.clear ?? undefined);
      else {
        const { hitRate, ...found } = cache.statistics();
        assert.deepEqual({ ...found, hit_rate: hitRate }, step.statistics, where);
      }
      assert.deepEqual(evicted, step.evicted, where);
    });
  });
}

/** Numbers that are the same in every run. */
function random(seed) {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** Who goes by a walk over all that is there. */
function worst(policy, records) {
  const rank = ({ value, order, used, uses }) => ({ lru: used, lfu: uses, oldest: order, largest: -value.bytes })[policy];
  return [...records].sort((a, b) => rank(a) - rank(b) || a.used - b.used)[0];
}

test('bounds hold after any sequence, the right one goes, and nothing is invented', () => {
  for (let seed = 1; seed <= 120; seed++) {
    const pick = random(seed);
    const policies = ['lru', 'lfu', 'oldest', 'largest'];
    let now = 0;
    const large = seed % 4 === 0;
    const bounds = { maxEntriesPerSession: 1 + pick(large ? 40 : 4), maxBytes: 20 + pick(large ? 3000 : 80) };
    const ttlMs = pick(3) === 0 ? 50 : undefined;
    const [policy, bytesPolicy] = [policies[pick(4)], policies[pick(4)]];
    const cache = new BoundedCache({ ...bounds, ...(ttlMs && { ttlMs }), policy, bytesPolicy, sizeOf: ({ bytes }) => bytes, now: () => now });
    // What was set last and neither evicted nor deleted since is there, and nothing else.
    const model = new Map();
    let ticks = 0;
    cache.on('evict', ({ id, session, reason }) => {
      const record = model.get(id);
      assert.ok(record, `seed ${seed}: ${id} went and was not there`);
      const rivals = [...model.values()].filter((each) => reason !== 'count' || each.session === session);
      if (reason === 'expired') assert.ok(now - record.setAt >= ttlMs);
      else assert.equal(record, worst(reason === 'count' ? policy : bytesPolicy, rivals), `seed ${seed}: ${id} went by ${reason}`);
      model.delete(id);
    });
    for (let step = 0; step < 300; step++) {
      now += pick(5);
      const session = ['a', 'a:', 'b'][pick(3)];
      const key = `${['x', ':x', 'y', 'z', 'w'][pick(5)]}${large ? pick(12) : ''}`;
      const id = cacheKey(session, key);
      const action = pick(10);
      if (action < 6) {
        const value = { bytes: pick(Math.min(bounds.maxBytes, 100) * 1.2) };
        model.delete(id);
        if (cache.set(session, key, value)) model.set(id, { value, session, setAt: now, order: ++ticks, used: ticks, uses: 0 });
        else assert.ok(value.bytes > bounds.maxBytes);
      } else if (action < 9) {
        const found = cache.get(session, key);
        const record = model.get(id);
        assert.equal(found, record?.value, `seed ${seed}, step ${step}`);
        if (record) Object.assign(record, { used: ++ticks, uses: record.uses + 1 });
      } else assert.equal(cache.delete(session, key), model.delete(id));
      const { entries, bytes, sessions } = cache.statistics();
      assert.ok(bytes <= bounds.maxBytes && entries <= sessions * bounds.maxEntriesPerSession);
      assert.equal(entries, model.size);
      assert.equal(bytes, [...model.values()].reduce((sum, { value }) => sum + value.bytes, 0));
    }
  }
});

test('two pairs never have one key form', () => {
  const parts = ['', ':', '\\', '\\:', 'a', 'a:', ':a', 'a\\'];
  const forms = new Set(parts.flatMap((session) => parts.map((key) => cacheKey(session, key))));
  assert.equal(forms.size, parts.length ** 2);
});

test('options of a cache are checked', () => {
  assert.throws(() => new BoundedCache({ maxBytes: 0 }), /maxBytes is a number above 0/);
  assert.throws(() => new BoundedCache({ policy: 'fifo' }), /no policy "fifo"; there are: lru, lfu, oldest, largest/);
  assert.throws(() => new BoundedCache({ sizeOf: () => NaN }).set('a', 'b', 1), /sizeOf said NaN/);
});

test('what waits in line to go keeps no value', async () => {
  const cache = new BoundedCache({ maxEntriesPerSession: 2, maxBytes: 100, ttlMs: 60_000, sizeOf: () => 40 });
  for (let i = 0; i < 5; i++) cache.set('a', `key ${i}`, {});
  await expectCollected(() => {
    const value = { text: 'x' };
    cache.set('a', 'last', value);
    cache.delete('a', 'last');
    return value;
  });
});

test('what a cache evicts and a pool drops is garbage', async () => {
  const cache = new BoundedCache({ maxEntriesPerSession: 1 });
  await expectCollected(() => {
    const value = { text: 'x' };
    cache.set('a', '1', value);
    cache.set('a', '2', {});
    return value;
  });
  const pool = new ObjectPool(() => ({}), { maxIdle: 0 });
  await expectCollected(() => {
    const object = pool.acquire();
    pool.release(object);
    return object;
  });
  await expectCollected(() => pool.acquire());
});

test('a pool reuses, is bounded, and notices what is released twice', async () => {
  const dropped = [];
  const pool = new ObjectPool(() => ({ uses: 0 }), { maxIdle: 1, reset: (o) => (o.uses = 0), drop: (o) => dropped.push(o) });
  const [first, second] = [pool.acquire(), pool.acquire()];
  first.uses = 5;
  pool.release(first);
  pool.release(second);
  assert.deepEqual(dropped, [second]);
  assert.throws(() => pool.release(first), /released already/);
  assert.throws(() => pool.release({}), /of another pool/);
  assert.equal(pool.acquire(), first);
  assert.equal(first.uses, 0);
  pool.release(first);
  await assert.rejects(pool.use(() => Promise.reject(new RangeError('no'))), RangeError);
  assert.deepEqual(pool.statistics(), { idle: 1, inUse: 0, highWater: 2, made: 2, reused: 2, dropped: 1 });
  pool.clear();
  assert.equal(pool.statistics().idle, 0);
  const strict = new ObjectPool(() => ({}), { reset: () => { throw new RangeError('unfit'); } });
  assert.throws(() => strict.release(strict.acquire()), RangeError);
  assert.equal(strict.statistics().dropped, 1);
});

test('a lazy value is made once, and again after a failure or a reset', () => {
  let made = 0;
  const value = lazy(() => {
    if (++made === 1) throw new RangeError('not yet');
    return made;
  });
  assert.throws(() => value.get(), RangeError);
  assert.equal(value.isMade, false);
  assert.deepEqual([value.get(), value.get(), value.isMade], [2, 2, true]);
  value.reset();
  assert.equal(value.get(), 3);
  const nothing = lazy(() => void made++);
  nothing.get();
  nothing.get();
  assert.equal(made, 4);
});

test('a weak map of values keeps none, and its entries go with them', async () => {
  const map = new WeakValueMap();
  const held = { name: 'held' };
  map.set('held', held);
  await expectCollected(() => {
    const value = { name: 'free' };
    map.set('free', value);
    assert.equal(map.get('free'), value);
    return value;
  });
  assert.equal(map.get('free'), undefined);
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(map.size, 1);
  assert.equal(map.get('held'), held);
  assert.equal(map.delete('held') && !map.delete('held'), true);
});

/** Bytes that `count` values of `make` take on the heap and off it, each. */
async function truth(make, count) {
  const { usedBytes, liveBytes } = await import('../dist/heap.js');
  make();
  const kept = new Array(count).fill(null);
  await liveBytes();
  const before = (await liveBytes(), usedBytes());
  for (let index = 0; index < count; index++) kept[index] = make(index);
  await liveBytes();
  return [(usedBytes() - before) / count, kept];
}

for (const [name, make] of Object.entries({
  objects: (i) => Array.from({ length: 200 }, (_, j) => ({ id: i * 1000 + j, name: `name ${i} ${j}`, at: [i, j, i + j] })),
  strings: (i) => new Map(Array.from({ length: 100 }, (_, j) => [`key ${i} ${j}`, `${i} ${j} `.padEnd(300, 'x').split('').reverse().join('')])),
  buffers: () => new Map(Array.from({ length: 20 }, (_, j) => [j, Buffer.alloc(10_000 + j)])),
})) {
  test(`the estimate of ${name} is near the truth`, async () => {
    // Enough of them that the quarter of a megabyte that a compiler's thread holds for the moment is a small part.
    const [bytes, kept] = await truth(make, 200);
    const estimate = kept.reduce((sum, value) => sum + sizeOf(value).bytes, 0) / kept.length;
    // Strings and buffers come within a tenth; V8 gives some small objects more room than their fields need.
    assert.ok(Math.abs(estimate / bytes - 1) <= (name === 'objects' ? 0.15 : 0.1), `${estimate} estimated, ${bytes} measured`);
  });
}

test('an estimate says what it does not know', () => {
  assert.deepEqual(sizeOf({ call: () => 1 }).functions, 1);
  assert.equal(sizeOf([{}, {}, {}], 2).isComplete, false);
  const ring = { next: null };
  ring.next = ring;
  assert.equal(sizeOf(ring).isComplete, true);
});
