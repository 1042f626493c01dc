'use strict';
/* The same tests for every runner: what leaks is found, what does not passes, whatever the runner keeps alive itself. */

const assert = require('assert');

/** JavaScriptCore has sizes of its own, writes no V8 snapshots, and scans its stack conservatively. */
const isBun = process.versions.bun !== undefined;

exports.define = ({ test, expect, plimsoll, operations, sessions, fakeTimers }) => {
  const here = { isolate: 'process', explain: false };
  const { noop, json, waits, http } = operations;

  const { PLIMSOLL_VERDICTS: file, PLIMSOLL_REPETITIONS: repetitions } = process.env;
  for (const [name, operation] of Object.entries({ noop, json, waits, http })) {
    // Closures: not importable, so they are repeated inside the runner.
    const closure = (iteration) => operation(iteration);
    if (file === undefined) {
      test(`clean ${name}`, () => expect(closure).not.toLeak());
      continue;
    }
    // For the figure of false leaks: each verdict is kept, and nothing else is run.
    for (let repetition = 0; repetition < Number(repetitions); repetition++) {
      test(`clean ${name} ${repetition}`, async () => {
        const { verdict, reason, cpuMs } = await plimsoll.check(closure, { timeoutMs: 120_000 });
        require('fs').appendFileSync(file, `${JSON.stringify({ name, verdict, reason, cpuMs })}\n`);
      });
    }
  }
  if (file !== undefined) return;

  for (const [name, bytes] of Object.entries({ bytes32: 32, bytes56: 56, bytes152: 152 })) {
    test(`${bytes} bytes inside the runner are read to a byte`, async () => {
      const verdict = await plimsoll.check((iteration) => operations[name](iteration), { ...here, limit: 1 });
      assert.strictEqual(verdict.verdict, 'leak', plimsoll.describe(verdict));
      assert.ok(isBun || Math.abs(verdict.bytesPerOperation - bytes) <= 1, String(verdict.bytesPerOperation));
      assert.strictEqual(verdict.isolated, false);
    });
  }

  test('an export is repeated elsewhere, its holder is named', async () => {
    let message = '';
    try {
      await expect(sessions.forgets).not.toLeak();
    } catch (error) {
      message = error.message;
    }
    assert.match(message, /leak: \+.* in a process of their own\n/);
    assert.match(message, isBun ? /bun writes no V8 heap snapshots/ : /Session held by Map `registry`/);
    await expect(sessions.closes).not.toLeak();
  });

  test('the path of a kept object is named', async () => {
    class Widget {}
    const shelf = new Map();
    const { finalized } = await plimsoll.expectCollected(() => new Widget());
    assert.ok(finalized || isBun);
    const keeps = () => {
      const widget = new Widget();
      shelf.set('key', widget);
      return widget;
    };
    await assert.rejects(plimsoll.expectCollected(keeps), isBun ? /Widget is still reachable/ : /shelf Map → .*Widget$/);
  });

  test('a surplus is named', async () => {
    const { EventEmitter } = require('events');
    const bus = new EventEmitter();
    await plimsoll.balanced(() => bus.on('news', () => {}).removeAllListeners());
    let server;
    const opens = () =>
      new Promise((resolve) => {
        server = require('net').createServer().listen(0, '127.0.0.1', resolve);
      });
    await assert.rejects(plimsoll.balanced(opens, { settleMs: 20 }), /left behind: .*socket/);
    await new Promise((resolve) => server.close(resolve));
  });

  if (fakeTimers) {
    test('fake timers change nothing', async () => {
      fakeTimers.on();
      try {
        const verdict = await plimsoll.check(() => ({ a: 1 }), here);
        assert.strictEqual(verdict.verdict, 'no leak', plimsoll.describe(verdict));
      } finally {
        fakeTimers.off();
      }
    });
  }
};
