// Golden transcripts, run against the probe as it is loaded into a real process.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

import { frame, withHub } from './hub.mjs';

const folder = join(dirname(fileURLToPath(import.meta.url)), '../../testdata/probe');
const SKIPPED = new Set(['s', 'gc', 'drop', 'gap', 'schema']);

/** Asserts that `actual` matches `expected` as the folder's README says. */
function match(actual, expected, token, where) {
  if (typeof expected === 'string' && expected.startsWith('<')) {
    const type = expected.slice(1, -1);
    if (type === 'token') assert.equal(actual, token, where);
    else if (type === 'array') assert.ok(Array.isArray(actual), `${where} is a list`);
    else assert.equal(typeof actual, type, where);
  } else if (Array.isArray(expected)) {
    assert.equal(actual.length, expected.length, where);
    expected.forEach((item, i) => match(actual[i], item, token, `${where}[${i}]`));
  } else if (expected !== null && typeof expected === 'object') {
    if ('<contains>' in expected) {
      for (const item of expected['<contains>']) assert.ok(actual.includes(item), `${where} contains ${item}`);
      return;
    }
    assert.equal(typeof actual, 'object', where);
    for (const key of Object.keys(expected)) match(actual[key], expected[key], token, `${where}.${key}`);
  } else {
    assert.equal(actual, expected, where);
  }
}

for (const file of readdirSync(folder).filter((name) => name.endsWith('.jsonl'))) {
  const [{ about }, ...steps] = readFileSync(join(folder, file), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  test(`${file}: ${about}`, { timeout: 60000 }, () =>
    withHub(async (hub) => {
      const child = hub.spawn(['-e', 'setInterval(() => {}, 1000); process.on("message", (m) => process.send(m))'], {
        stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      });
      const peer = await hub.peer();
      for (const [i, step] of steps.entries()) {
        const where = `step ${i + 1}`;
        if (step.probe) {
          const message = await peer.next((m) => m.type === step.probe.type || !SKIPPED.has(m.type));
          assert.ok(message, `${where}: the connection closed`);
          match(message, step.probe, hub.token, where);
        } else if (step.hub) {
          peer.socket.write(Buffer.concat([step.hub].flat().map(frame)));
        } else if (step.raw) {
          peer.socket.write(Buffer.from(step.raw, 'hex'));
        } else {
          await peer.ended();
        }
      }
      const echo = new Promise((resolve) => child.once('message', resolve));
      child.send('alive');
      assert.equal(await echo, 'alive');
      assert.deepEqual(child.output, { stdout: '', stderr: '' });
    }),
  );
}
