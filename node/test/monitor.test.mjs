/* The memory monitor: the vectors that every implementation passes, the process it really reads, and what it leaves: nothing. */

import './binary.mjs';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { BoundedCache, MemoryMonitor, balanced, leakTest, sizeOf } from 'plimsoll';
import Default, { MemoryMonitor as Named } from 'plimsoll/memory-monitor';

const MIB = 1024 * 1024;
const folder = fileURLToPath(new URL('..', import.meta.url));
const vectors = new URL('../../testdata/monitor/', import.meta.url);

/** Figures are the same but for rounding. */
function near(found, expected, where) {
  if (typeof expected === 'number' && typeof found === 'number') {
    assert.ok(Math.abs(found - expected) <= 1e-9 * Math.abs(expected), `${where}: ${found} instead of ${expected}`);
  } else if (Array.isArray(expected)) {
    assert.equal(found?.length, expected.length, `${where}: ${JSON.stringify(found)}`);
    expected.forEach((item, index) => near(found[index], item, where));
  } else assert.deepEqual(found, expected, where);
}

for (const file of readdirSync(vectors).filter((name) => name.endsWith('.json'))) {
  const { why, options, steps } = JSON.parse(readFileSync(new URL(file, vectors), 'utf8'));
  test(`memory monitor, ${file}: ${why}`, () => {
    let now = 0;
    let reading;
    let evictTo = null;
    let events = [];
    const sources = new Map();
    const { actions: wanted = [], ...lines } = options;
    const all = {
      collect: () => undefined,
      'clear caches': () => undefined,
      evict: (session) => evictTo !== null && monitor.charge(session, evictTo),
      callback: () => undefined,
    };
    const names = { collect: 'collect', 'clear caches': 'clearCaches', evict: 'evict', callback: 'callback' };
    const actions = Object.fromEntries(wanted.map((name) => [names[name], all[name]]));
    const monitor = new MemoryMonitor({ ...lines, actions, now: () => now, read: () => reading });
    monitor.on('alert', ({ type, severity, session, component, value, message }) => {
      assert.ok(message.length > 0 && (session === null || message.includes(session)), message);
      events.push([severity, type, ...[session, component].filter((part) => part !== null), value]);
    });
    for (const severity of ['warning', 'error', 'critical', 'recovered']) {
      monitor.on(`alert:${severity}`, (alert) => assert.equal(alert.severity, severity));
    }
    monitor.on('action', ({ action, error, dryRun }) => {
      assert.equal(error, null);
      assert.equal(dryRun, options.dryRun === true && action !== 'callback');
      events.push(['action', action]);
    });
    steps.forEach((step, index) => {
      now = step.at_ms ?? now;
      events = [];
      const where = `step ${index}: ${JSON.stringify(step)}`;
      if (step.register !== undefined) {
        sources.set(step.register, 0);
        monitor.register(step.register, step.source ? { bytes: () => sources.get(step.register) } : {});
      } else if (step.source) sources.set(...step.source);
      else if (step.charge) assert.equal(monitor.charge(...step.charge), step.fits, where);
      else if (step.end !== undefined) assert.equal(monitor.end(step.end), step.ended, where);
      else if (step.evict_to !== undefined) evictTo = step.evict_to;
      else if (step.sample) {
        const { total_bytes: totalBytes = null, live_bytes: liveBytes = null, heap_full_percent: heapFullPercent = null } = step.sample;
        reading = { totalBytes, liveBytes, heapFullPercent };
        monitor.sample();
      } else {
        reading = { totalBytes: null, liveBytes: null, heapFullPercent: null };
        const { sessionCount, sessions, components, totalBytes, growth } = monitor.metrics();
        const bytes = Object.fromEntries(Object.entries(sessions).map(([name, { bytes }]) => [name, bytes]));
        const { growth_bytes_per_minute: rate, ...expected } = step.status;
        assert.deepEqual({ sessions: sessionCount, session_bytes: bytes, components, total_bytes: totalBytes }, expected, where);
        near(growth.bytesPerMinute, rate, where);
        assert.equal(growth.method, 'slope');
      }
      near(events, step.events, where);
    });
  });
}

test('it has the names and the shapes that the documents use', async () => {
  assert.equal(Default, MemoryMonitor);
  assert.equal(Named, MemoryMonitor);
  assert.equal(createRequire(import.meta.url)('plimsoll/memory-monitor'), MemoryMonitor);
  const monitor = new Default({ perSession: 10 * MIB, totalSystem: 150 * MIB, alertThreshold: 80 }, 60_000);
  assert.equal(monitor.intervalMs, 60_000);
  assert.equal(new MemoryMonitor().intervalMs, 60_000);
  assert.equal(new MemoryMonitor({ duration: 5 }).intervalMs, 1000);
  assert.equal(new MemoryMonitor({ interval: 500, duration: 300_000, outputFile: 'x.json' }).intervalMs, 500);
});

test('what it reads is the process', async () => {
  const monitor = new MemoryMonitor();
  const before = monitor.metrics();
  const kept = [Buffer.alloc(40 * MIB, 1), Array.from({ length: 400_000 }, (_, id) => ({ id }))];
  const after = monitor.metrics();
  assert.ok(after.external - before.external >= 39 * MIB, `${after.external} after ${before.external}`);
  assert.ok(after.heapUsed - before.heapUsed >= 8 * MIB);
  assert.ok(after.totalBytes - before.totalBytes >= 48 * MIB);
  assert.ok(after.rss >= kept[0].length);
  assert.ok(after.gcPressure > 0 && after.gcPressure < 100);
  assert.equal(after.collections, null, 'nothing is observed before it starts');
  const { totalBytes, totalIs, rss } = new MemoryMonitor({ total: 'rss' }).metrics();
  assert.deepEqual([after.totalIs, totalIs, totalBytes], ['heap', 'rss', rss]);
});

test('while it runs it samples, counts collections, and stops for good', async (t) => {
  // A monitor without a duration keeps nothing alive, and so not this test.
  const alive = setInterval(() => undefined, 1000);
  t.after(() => clearInterval(alive));
  await balanced(async () => {
    const monitor = new MemoryMonitor({}, 2);
    monitor.start().start();
    assert.ok(monitor.isRunning);
    monitor.charge('a', 5 * MIB, 'cache');
    for (let i = 0; i < 3; i++) await once(monitor, 'sample');
    let sample;
    do {
      Array.from({ length: 100_000 }, () => ({}));
      [sample] = await once(monitor, 'sample');
    } while (sample.collections.count === 0);
    assert.deepEqual(sample.sessions, { a: { bytes: 5 * MIB, method: 'reported', isComplete: true, components: { cache: 5 * MIB } } });
    assert.deepEqual([sample.sessionCount, sample.components], [1, { cache: 5 * MIB }]);
    let late = 0;
    monitor.on('sample', () => late++);
    const report = monitor.stop();
    assert.ok(report.samples.length >= 4 && report.collections.count > 0);
    assert.equal(monitor.stop(), null);
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(late, 0);
    assert.equal(monitor.eventNames().length, 1, 'only the listener of this test');
  });
});

test('fake timers do not stop it', async (t) => {
  const alive = setInterval(() => undefined, 1000);
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'] });
  const monitor = new MemoryMonitor({}, 2).start();
  try {
    const [sample] = await once(monitor, 'sample');
    assert.ok(sample.at > 0, 'the time is the real one');
  } finally {
    monitor.stop();
    t.mock.timers.reset();
    clearInterval(alive);
  }
});

/** A monitor or a session that stayed would be kilobytes a call; the runtime's own books on observers and names are a byte or three. */
const NOTHING = { strict: true, limit: '16 B' };

test('starting and stopping keeps nothing, whatever it was told meanwhile', async () => {
  const verdict = await leakTest(
    () => {
      const monitor = new MemoryMonitor({ totalSystem: 1, actions: { callback: () => undefined } }, 1000);
      monitor.register('a', { root: { text: 'x' } });
      monitor.start();
      monitor.charge('b', 11 * MIB);
      monitor.end('a');
      monitor.stop();
    },
    NOTHING,
  );
  assert.equal(verdict.verdict, 'no leak');
});

test('sessions that come and go leave nothing in a monitor that stays', async () => {
  const monitor = new MemoryMonitor({ components: { cache: 5 * MIB } });
  let number = 0;
  await leakTest(
    () => {
      const session = `session ${number++}`;
      monitor.charge(session, 11 * MIB, 'cache');
      monitor.sample();
      monitor.end(session);
    },
    NOTHING,
  );
  assert.equal(monitor.metrics().sessionCount, 0);
});

test('a monitor that runs is not what grows', async () => {
  const monitor = new MemoryMonitor({}, 1_000_000).start();
  monitor.register('a', { root: { rows: [1, 2, 3] } });
  monitor.charge('b', MIB, 'cache');
  try {
    await leakTest(() => void monitor.sample(), NOTHING);
  } finally {
    monitor.stop();
  }
});

test('a monitor of a service does not keep it alive; one with a duration stays that long and writes what it saw', () => {
  const place = mkdtempSync(join(tmpdir(), 'plimsoll-test-'));
  try {
    const run = (code) => spawnSync(process.execPath, ['-e', code], { cwd: folder, encoding: 'utf8', timeout: 60_000 });
    const service = run(`new (require('plimsoll').MemoryMonitor)({}, 1000000).start(); console.log('over')`);
    assert.deepEqual([service.status, service.stdout, service.stderr], [0, 'over\n', '']);
    const file = join(place, 'monitoring.json');
    const timed = run(`
      const MemoryMonitor = require('plimsoll/memory-monitor');
      const monitor = new MemoryMonitor({ interval: 10, duration: 200, outputFile: ${JSON.stringify(file)} });
      monitor.on('sample', () => globalThis.kept = Buffer.alloc(60 * 1024 * 1024, 1));
      monitor.start();`);
    assert.deepEqual([timed.status, timed.stderr], [0, '']);
    const report = JSON.parse(readFileSync(file, 'utf8'));
    assert.equal(report.schema, 'plimsoll.memory-monitor/1');
    assert.ok(report.durationMs >= 190 && report.samples.length >= 2, `${report.durationMs} ms, ${report.samples.length} samples`);
    assert.ok(['healthy', 'warning'].includes(report.indicator) && report.rssGrowth > 0);
    assert.ok(['inconclusive', 'no leak', 'leak'].includes(report.judged.verdict), JSON.stringify(report.gaps));
  } finally {
    rmSync(place, { recursive: true });
  }
});

/** A monitor whose process grows by so much a minute, a sample each; a little noise, the same in every run. */
function fed(perMinute, minutes, options = {}) {
  let now = 0;
  let state = 7;
  const monitor = new MemoryMonitor({
    ...options,
    now: () => now,
    read: () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      const live = 50 * MIB + (perMinute * now) / 60_000 + state / 2 ** 32 * 1024;
      return { totalBytes: live, liveBytes: live, heapFullPercent: null };
    },
  });
  monitor.start();
  for (let minute = 1; minute <= minutes; minute++) {
    now = minute * 60_000;
    monitor.sample();
  }
  return monitor;
}

test('growth is judged where there is a judge, and is called a slope where there is none', async () => {
  await balanced(async () => {
    const monitor = fed(2 * MIB, 200, { totalSystem: '10 GB' });
    const verdict = await monitor.verdict();
    assert.equal(verdict.verdict, 'leak', verdict.reason);
    assert.ok(verdict.low <= 2 * MIB && verdict.high >= 2 * MIB && verdict.high < 3 * MIB, JSON.stringify(verdict));
    const { growth } = monitor.metrics();
    assert.deepEqual([growth.method, growth.judged.verdict], ['judge', 'leak']);
    assert.match(monitor.stop().alerts[0].message, /^growth: 2 MiB a minute, limit 1 MiB, by a plain slope, which is no verdict$/);
  }, { settleMs: 20_000 });
  const level = fed(0, 200);
  assert.equal((await level.verdict()).verdict, 'no leak');
  level.stop();
  const { PLIMSOLL_BINARY } = process.env;
  process.env.PLIMSOLL_BINARY = '/nowhere';
  try {
    const alone = fed(2 * MIB, 20);
    await assert.rejects(alone.verdict(), { code: 'PLIMSOLL_BINARY_INVALID' });
    const { method, judged, bytesPerMinute } = alone.metrics().growth;
    assert.deepEqual([method, judged], ['slope', null]);
    assert.ok(Math.abs(bytesPerMinute / (2 * MIB) - 1) < 0.01);
    await new Promise((resolve) => setImmediate(resolve));
    assert.match(alone.stop().gaps.join(), /PLIMSOLL_BINARY/);
  } finally {
    process.env.PLIMSOLL_BINARY = PLIMSOLL_BINARY;
  }
});

test('a stop while the judge is asked leaves no child and no rejection', async () => {
  await balanced(
    async () => {
      const monitor = fed(2 * MIB, 200, { totalSystem: '10 GB' });
      const asked = monitor.verdict();
      monitor.stop();
      await assert.rejects(asked, { code: 'PLIMSOLL_BINARY_FAILED' });
    },
    // A child that was killed takes as long as a loaded machine lets it.
    { settleMs: 20_000 },
  );
});

test('sessions are estimated by their roots, which are not kept, and those that stay after the end are told', async () => {
  const monitor = new MemoryMonitor({ perSession: '1 MB' });
  const make = () => ({ rows: Array.from({ length: 2000 }, (_, id) => ({ id, name: `name ${id}` })) });
  const kept = make();
  monitor.register('kept', { root: kept });
  monitor.register('gone', { root: make() });
  monitor.register('closures', { root: { call: () => kept } });
  const heard = [];
  monitor.on('alert', ({ severity, session }) => heard.push([severity, session]));
  // There may be CPU for one of them only at each sample.
  for (let turn = 0; turn < 3; turn++) monitor.sample();
  const { sessions } = monitor.metrics();
  assert.deepEqual(sessions.kept, { bytes: sizeOf(kept).bytes, method: 'estimated', isComplete: true, components: {} });
  assert.equal(sessions.closures.isComplete, false, 'what a function captures is not seen');
  assert.deepEqual(heard, []);
  kept.more = Buffer.alloc(2 * MIB);
  assert.ok(monitor.measure('kept').bytes > 2 * MIB);
  assert.deepEqual(heard, [['error', 'kept']]);
  for (const session of ['kept', 'gone', 'closures']) monitor.end(session);
  assert.deepEqual(await monitor.retained(), ['kept']);
  assert.throws(() => monitor.measure('unknown'), /session unknown was not registered with a root/);
});

/** Shapes of sessions; `floor` where an estimate cannot see all. */
const SHAPES = {
  objects: (i) => ({ rows: Array.from({ length: 3000 }, (_, j) => ({ id: j, name: `name ${i} ${j}`, at: [i, j] })) }),
  texts: (i) => ({ texts: new Map(Array.from({ length: 300 }, (_, j) => [j, `${i} ${j} `.padEnd(1000, 'x').split('').reverse().join('')])) }),
  buffers: (i) => ({ buffers: Array.from({ length: 30 }, (_, j) => Buffer.alloc(10_000 + i + j)) }),
  closures: (i) => ({ calls: Array.from({ length: 3000 }, (_, j) => { const held = { i, j }; return () => held; }) }),
  mixed: (i) => ({ ...SHAPES.objects(i), ...SHAPES.texts(i), ...SHAPES.buffers(i) }),
};

test('estimates come near retained sizes, and what functions capture is in the snapshot only', async () => {
  const { usedBytes, liveBytes } = await import('../dist/heap.js');
  for (const [shape, make] of Object.entries(SHAPES)) {
    make(0);
    const roots = new Array(20).fill(null);
    await liveBytes();
    const before = (await liveBytes(), usedBytes());
    for (let i = 0; i < roots.length; i++) roots[i] = make(i);
    await liveBytes();
    const truth = (usedBytes() - before) / roots.length;
    const monitor = new MemoryMonitor();
    monitor.register('a', { root: roots[7] });
    const estimated = monitor.measure('a');
    const said = `${shape}: ${estimated.bytes} estimated, ${truth} measured`;
    assert.equal(estimated.method, 'estimated');
    assert.equal(estimated.isComplete, shape !== 'closures');
    if (shape === 'closures') assert.ok(estimated.bytes < 0.9 * truth, said);
    else assert.ok(Math.abs(estimated.bytes / truth - 1) <= 0.1, said);
    // A snapshot takes seconds on a loaded machine: of what an estimate cannot see only.
    if (shape !== 'closures') continue;
    const retained = await monitor.measureRetained('a');
    assert.deepEqual([retained.method, retained.isComplete], ['retained', true]);
    assert.ok(Math.abs(retained.bytes / truth - 1) <= 0.05, `${retained.bytes} retained, ${said}`);
  }
});

test('a snapshot of a session is not taken without a binary, or of a session that is unknown', async () => {
  const monitor = new MemoryMonitor();
  await assert.rejects(monitor.measureRetained('a'), /session a was not registered/);
  const { PLIMSOLL_BINARY } = process.env;
  process.env.PLIMSOLL_BINARY = '/nowhere';
  try {
    const root = {};
    monitor.register('a', { root });
    await assert.rejects(monitor.measureRetained('a'), { code: 'PLIMSOLL_BINARY_INVALID' });
  } finally {
    process.env.PLIMSOLL_BINARY = PLIMSOLL_BINARY;
  }
});

test('in a real process the collector runs, caches are cleared, and an action that throws is told', async () => {
  const cache = new BoundedCache({ maxBytes: 100 * MIB });
  cache.set('a', 'large', Buffer.alloc(30 * MIB));
  const monitor = new MemoryMonitor({
    totalSystem: 1,
    actions: {
      collect: true,
      clearCaches: () => cache.clear(),
      callback: () => {
        throw new RangeError('no');
      },
    },
  });
  const taken = [];
  monitor.on('action', ({ action, error }) => taken.push([action, error === null ? null : error.name]));
  const weak = new WeakRef({});
  await new Promise((resolve) => setImmediate(resolve));
  monitor.sample();
  assert.deepEqual(taken, [['collect', null], ['clear caches', null], ['callback', 'RangeError']]);
  assert.equal(weak.deref(), undefined);
  assert.equal(cache.statistics().entries, 0);
});

test('a long record is bounded, and keeps the lowest of what it merges', () => {
  const monitor = fed(1024, 5000);
  const report = monitor.stop();
  assert.ok(report.samples.length <= 2048 && report.samplesMerged === 4, `${report.samples.length} of ${report.samplesMerged}`);
});

test('nonsense is refused by name', () => {
  const wrong = [
    [{ perSesion: 5 }, /no option `perSesion`; there are: perSession/],
    [{ perSession: 0 }, /perSession is a number above 0/],
    [{ totalSystem: 'much' }, /"much" is no size/],
    [{ alertThreshold: 101 }, /alertThreshold is percent, 0 to 100/],
    [{ components: { cache: -1 } }, /components.cache is a number above 0/],
    [{ actions: { restart: true } }, /no action `restart`; there are: collect, clearCaches, evict, callback/],
    [{ total: 'all' }, /total is 'heap' or 'rss'/],
    [{ duration: 0 }, /duration is a number above 0/],
  ];
  for (const [options, message] of wrong) assert.throws(() => new MemoryMonitor(options), { name: 'TypeError', message });
  assert.throws(() => new MemoryMonitor({}, -1), /interval is a number above 0/);
  const monitor = new MemoryMonitor();
  assert.throws(() => monitor.charge('a', NaN), /charged bytes, not NaN/);
  assert.throws(() => monitor.register('a', { root: {}, bytes: () => 1 }), /not both/);
  monitor.register('b', { bytes: () => -1 });
  monitor.register('c', {
    bytes: () => {
      throw new RangeError('no');
    },
  });
  const { gaps, sessions } = monitor.sample();
  assert.deepEqual([sessions.b.bytes, sessions.c.bytes], [null, null]);
  assert.deepEqual(gaps, ['session b says that it takes -1 bytes', 'session c does not say what it takes: RangeError: no']);
});
