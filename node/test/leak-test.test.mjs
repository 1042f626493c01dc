/* Leak tests: known answers, in pairs; faults of operations, options and places. */

import './binary.mjs';
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { mock, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { LeakError, check, describe, leakTest } from 'plimsoll';
import { expect } from 'plimsoll/node';

const require = createRequire(import.meta.url);
const sessions = require('./operations/sessions.cjs');
const known = new URL('../bench/operations.cjs', import.meta.url);
const quick = { explain: false };

for (const [name, bytes] of Object.entries({ bytes32: 32, bytes56: 56, bytes152: 152 })) {
  test(`${bytes} bytes per call are read to a byte`, async () => {
    const verdict = await check({ module: known, export: name }, quick);
    assert.equal(verdict.verdict, 'leak', describe(verdict));
    assert.ok(Math.abs(verdict.bytesPerOperation - bytes) <= 1, String(verdict.bytesPerOperation));
    assert.ok(verdict.rate.low <= bytes + 1 && bytes - 1 <= verdict.rate.high, JSON.stringify(verdict.rate));
    assert.equal(verdict.isolated, true);
  });
}

test('one object in a hundred calls is a leak', async () => {
  const verdict = await check({ module: known, export: 'hundredth' }, quick);
  assert.equal(verdict.verdict, 'leak', describe(verdict));
  assert.ok(Math.abs(verdict.bytesPerOperation - 0.56) < 0.1, String(verdict.bytesPerOperation));
});

test('numbers in a set are a leak though only the doubling of its table shows', async () => {
  const verdict = await check({ module: known, export: 'seen' }, quick);
  assert.equal(verdict.verdict, 'leak', describe(verdict));
});

for (const name of ['noop', 'json', 'waits']) {
  test(`what keeps nothing reads exactly 0 (${name})`, async () => {
    const verdict = await check({ module: known, export: name }, quick);
    assert.equal(verdict.verdict, 'no leak', describe(verdict));
    assert.equal(verdict.bytesPerOperation, 0);
  });
}

test('a leak is named by constructor, holder and place; its twin is none', async () => {
  await assert.rejects(leakTest(sessions.forgets), (error) => {
    assert.ok(error instanceof LeakError);
    const [culprit] = error.verdict.culprits;
    assert.equal(culprit.kind, 'Session');
    assert.match(culprit.holder, /Map `registry` \(sessions\.cjs\)/);
    assert.match(culprit.place, /sessions\.cjs:\d+/);
    assert.equal(culprit.pattern, 'unbounded map');
    assert.equal(error.verdict.isolated, true, 'an export of a loaded module is measured elsewhere');
    assert.match(error.message, /^leak: \+.* per call \(95 % CI .*\nSession held by Map `registry`/);
    return true;
  });
  const verdict = await leakTest(sessions.closes, quick);
  assert.equal(verdict.verdict, 'no leak');
});

test('a closure is measured where it is', async () => {
  const kept = [];
  const leaky = await check(() => kept.push({ a: 1 }), quick);
  assert.equal(leaky.verdict, 'leak', describe(leaky));
  assert.equal(leaky.isolated, false);
  await expect(() => ({ a: 1 })).not.toLeak();
  await assert.rejects(expect(() => kept.push({ a: 1 })).not.toLeak(quick), LeakError);
  await expect(() => kept.push({ a: 1 })).toLeak(quick);
  await assert.rejects(expect(() => ({ a: 1 })).toLeak(quick), /^LeakError: no leak:/);
});

test('classes are counted here and elsewhere', async () => {
  const { Session, forgets, closes } = sessions;
  const leaky = await check(forgets, { ...quick, kinds: [Session] });
  assert.equal(leaky.isolated, true);
  assert.ok(Math.abs(leaky.counts['instances of Session'] - 1) < 0.01, JSON.stringify(leaky.counts));
  const clean = await check(closes, { ...quick, isolate: 'process', kinds: [Session] });
  assert.deepEqual(clean.counts, {});
});

test('a limit allows what grows below it', async () => {
  const verdict = await check({ module: known, export: 'bytes32' }, { ...quick, limit: '64 B/call' });
  assert.equal(verdict.verdict, 'no leak', describe(verdict));
});

test('the default export of a subject is its `operation`', async () => {
  const verdict = await check({ module: new URL('./operations/defaults.mjs', import.meta.url) }, quick);
  assert.equal(verdict.verdict, 'leak', describe(verdict));
});

test('what the operation throws passes through, and one that never settles is given up', async () => {
  await assert.rejects(check(sessions.throws, { isolate: 'child' }), { name: 'RangeError', message: 'out of range' });
  await assert.rejects(check(sessions.throws, { isolate: 'process' }), RangeError);
  await assert.rejects(check(() => Promise.reject(new RangeError('later'))), RangeError);
  for (const isolate of ['child', 'process']) {
    await assert.rejects(check(sessions.neverSettles, { isolate, timeoutMs: 100 }), { name: 'UnsettledError', code: 'PLIMSOLL_OPERATION_UNSETTLED' });
  }
});

test('a module that lacks the export says what it has', async () => {
  const module = new URL('./operations/sessions.cjs', import.meta.url);
  await assert.rejects(check({ module, export: 'forget' }), /exports no function `forget`; functions there: .*forgets/);
  await assert.rejects(check({ module }), /neither `operation` nor a default export/);
  await assert.rejects(check({ module: 'nowhere.mjs' }), /nowhere\.mjs/);
  await assert.rejects(check(sessions.closes, { kinds: ['Sesion'] }), /no class `Sesion`/);
});

test('options are checked', async () => {
  for (const [options, message] of [
    [{ iteration: 5 }, /no option `iteration`; there are: iterations,/],
    [{ iterations: 0 }, /iterations is a whole number above 0/],
    [{ limit: 'a lot' }, /"a lot" is no size/],
    [{ cpuMs: -1 }, /cpuMs is milliseconds, above 0/],
    [{ isolate: 'worker' }, /isolate is 'auto', 'child' or 'process'/],
  ]) {
    await assert.rejects(check(() => {}, options), message);
  }
  await assert.rejects(check(() => {}, { isolate: 'child' }), /name it as \{ module, export \}/);
});

test('without a judge growth is inconclusive and level is level', async () => {
  const binary = process.env.PLIMSOLL_BINARY;
  const kept = [];
  process.env.PLIMSOLL_BINARY = '/nowhere/plimsoll';
  try {
    const verdict = await check(() => kept.push({ a: 1 }));
    assert.equal(verdict.verdict, 'inconclusive');
    assert.match(verdict.reason, /PLIMSOLL_BINARY names \/nowhere\/plimsoll, which is no program/);
    assert.equal((await check(() => ({ a: 1 }))).verdict, 'no leak');
    await assert.rejects(leakTest(() => kept.push({ a: 1 }), { strict: true }), LeakError);
  } finally {
    process.env.PLIMSOLL_BINARY = binary;
  }
});

test('fake timers and a fake clock change nothing', async () => {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'setImmediate', 'Date'] });
  try {
    const verdict = await check(() => ({ a: 1 }), quick);
    assert.equal(verdict.verdict, 'no leak', describe(verdict));
  } finally {
    mock.timers.reset();
  }
});

test('a timer per call is counted beside its bytes', async () => {
  const timers = [];
  const verdict = await check(() => timers.push(setTimeout(() => {}, 1e9)), quick);
  for (const timer of timers) clearTimeout(timer);
  assert.equal(verdict.verdict, 'leak');
  assert.ok(Math.abs(verdict.counts.timers - 1) < 0.01, JSON.stringify(verdict.counts));
});

test('a worker measures itself', async () => {
  const source = `
    const { parentPort } = require('worker_threads');
    const { check } = require(require('worker_threads').workerData);
    const kept = [];
    (async () => {
      const leaky = await check(() => kept.push({ a: 1 }), { explain: false });
      const clean = await check(() => ({ a: 1 }), { explain: false });
      parentPort.postMessage([leaky.verdict, clean.verdict]);
    })();`;
  const verdicts = await new Promise((resolve, reject) => {
    new Worker(source, { eval: true, workerData: require.resolve('plimsoll') }).on('message', resolve).on('error', reject);
  });
  assert.deepEqual(verdicts, ['leak', 'no leak']);
});

test('the collector is left where it was', async () => {
  await check(() => {}, quick);
  assert.equal(typeof globalThis.gc, 'undefined');
  const { runInNewContext } = await import('node:vm');
  assert.equal(runInNewContext('typeof gc'), 'undefined');
});
