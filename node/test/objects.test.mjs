/* What becomes garbage, and what a test leaves open: each with its twin. */

import './binary.mjs';
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { createServer } from 'node:net';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { Balance, BalanceError, RetainedError, balanced, expectCollected } from 'plimsoll';

class Widget {}
const bus = new EventEmitter();
const shelf = new Map();

test('what nobody holds is collected and finalised in one turn', async () => {
  assert.deepEqual(await expectCollected(() => new Widget()), { turns: 1, finalized: true });
  assert.deepEqual(await expectCollected(async () => ({ parts: [new Widget()] })), { turns: 1, finalized: true });
});

test('what a map or a listener holds is named with its path', async () => {
  const kept = (hold) => () => {
    const widget = new Widget();
    hold(widget);
    return widget;
  };
  await assert.rejects(expectCollected(kept((widget) => shelf.set('key', widget))), (error) => {
    assert.ok(error instanceof RetainedError);
    assert.match(error.message, /^Widget is still reachable after 5 collections\nheld by … → .*shelf Map → .*Widget$/);
    return true;
  });
  await assert.rejects(
    expectCollected(kept((widget) => bus.on('data', () => widget))),
    /bus EventEmitter → \._events .*→ \.data function → .*widget Widget$/,
  );
  bus.removeAllListeners();
});

test('a factory has to make an object', async () => {
  await assert.rejects(expectCollected(() => 5), { name: 'TypeError', message: /not number/ });
  await assert.rejects(expectCollected(() => null), { name: 'TypeError', message: /not null/ });
});

test('a hundred thousand finalisers run within two turns', async () => {
  let finalized = 0;
  const registry = new FinalizationRegistry(() => finalized++);
  const result = await expectCollected(() => {
    const list = Array.from({ length: 100_000 }, () => new Widget());
    for (const widget of list) registry.register(widget, undefined);
    return list;
  });
  assert.ok(result.turns <= 2);
  assert.equal(finalized, 100_000);
});

describe('balance', () => {
  const settleMs = 20;
  const cases = {
    'listener EventEmitter \'news\'': { leaves: () => bus.on('news', () => {}), ends: () => bus.removeAllListeners() },
    'timer setInterval\\(poll, 3600000 ms\\)': {
      leaves: () => setInterval(function poll() {}, 3_600_000).unref(),
      ends: (timer) => clearInterval(timer),
    },
    'timer setTimeout\\(anonymous, 3600000 ms\\)': { leaves: () => setTimeout(() => {}, 3_600_000), ends: (timer) => clearTimeout(timer) },
    'descriptor /dev/null': { leaves: () => openSync('/dev/null'), ends: (descriptor) => closeSync(descriptor) },
    'listener process \'beforeExit\'': {
      leaves: () => process.on('beforeExit', nothing),
      ends: () => process.off('beforeExit', nothing),
    },
    'handle TCPServerWrap': {
      leaves: () => new Promise((resolve) => {
        const server = createServer().listen(0, '127.0.0.1', () => resolve(server));
      }),
      ends: (server) => server.close(),
    },
  };
  function nothing() {}
  for (const [name, { leaves, ends }] of Object.entries(cases)) {
    test(name.replaceAll('\\', ''), async () => {
      let left;
      const work = async () => {
        left = await leaves();
      };
      await assert.rejects(balanced(work, { settleMs }), new RegExp(`^BalanceError: left behind: .*1 x ${name}`));
      ends(left);
      await balanced(async () => ends(await leaves()));
    });
  }

  test('what is ignored passes', async () => {
    const timers = [];
    await balanced(() => timers.push(setTimeout(() => {}, 1e6)), { settleMs, ignore: ({ family }) => family === 'timers' || family === 'handles' });
    timers.forEach(clearTimeout);
  });

  test('the result and the error of the work come through', async () => {
    assert.equal(await balanced(() => 7), 7);
    await assert.rejects(balanced(() => Promise.reject(new RangeError('no'))), RangeError);
    await assert.rejects(new Balance().check(), /`start` comes before `check`/);
    assert.equal(new BalanceError([{ family: 'timers', name: 'x', count: 2 }]).message, 'left behind: 2 x timer x');
  });
});

describe('hooks', () => {
  const balance = new Balance();
  beforeEach(() => balance.start());
  afterEach(() => balance.check());
  test('a balanced test passes', () => {
    bus.on('data', () => {});
    bus.removeAllListeners('data');
  });
});
