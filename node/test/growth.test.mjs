// The observer must not be what grows.
import assert from 'node:assert/strict';
import test from 'node:test';

import { withHub } from './hub.mjs';

const SERVER = 'require("http").createServer((q, r) => r.end("x")).listen(0, "127.0.0.1")';

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

/** Live bytes at `n` collections after 30 for warm-up, with `before` run before each. */
async function readings(peer, n, before) {
  const live = [];
  for (let i = -30; i < n; i++) {
    await before(i);
    const { ok } = await peer.call('collect');
    if (i >= 0) live.push(ok.values.live_bytes);
    peer.messages.length = 0;
  }
  return live;
}

/** Growth per reading between the halves; single steps (the compiler's) do not move medians. */
function growth(live) {
  const half = live.length >> 1;
  return (median(live.slice(half)) - median(live.slice(0, half))) / half;
}

test('collections on an idle server leave nothing behind', { timeout: 120000 }, () =>
  withHub(async (hub) => {
    hub.spawn(['-e', SERVER]);
    const peer = await hub.greeted();
    peer.send({ type: 'config', hz: 10 });
    const live = await readings(peer, 200, () => {});
    const steps = live.slice(1).map((value, i) => value - live[i]);
    assert.equal(median(steps), 0);
    // Node's and the probe's functions are still being compiled now and then: some 8 kB each, 20 to 60 kB in all.
    assert.ok(growth(live) <= 1000, `${growth(live)} B per collection`);
  }),
);

test('censuses on an idle server leave nothing behind', { timeout: 120000 }, () =>
  withHub(async (hub) => {
    hub.spawn(['-e', SERVER]);
    const peer = await hub.greeted();
    peer.send({ type: 'config', hz: 0 });
    const live = await readings(peer, 60, (i) => i > -10 && peer.call('census', { scope: 'resources' }));
    assert.ok(growth(live) <= 1000, `${growth(live)} B per census`);
  }),
);

test('a planted leak is read to the byte', { timeout: 60000 }, () =>
  withHub(async (hub) => {
    const child = hub.spawn(
      [
        '-e',
        // Slots are there beforehand, so that every message adds 1,000 objects of one field and nothing else.
        `const kept = new Array(100000).fill(null); let n = 0;
         process.on('message', () => { for (let i = 0; i < 1000; i++) kept[n++] = { a: 1 }; process.send('done'); });`,
      ],
      { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] },
    );
    const peer = await hub.greeted();
    const live = await readings(peer, 40, async () => {
      const done = new Promise((resolve) => child.once('message', resolve));
      child.send('go');
      await done;
    });
    const steps = live.slice(1).map((value, i) => value - live[i]);
    // An object literal of one field: 32 bytes in all versions with 8-byte pointers.
    assert.ok(Math.abs(median(steps) - 32000) <= 320, `${median(steps)} B for 1,000 objects`);
  }),
);

test('what is held for a moment only is not read as growth', { timeout: 60000 }, () =>
  withHub(async (hub) => {
    const child = hub.spawn(
      [
        '-e',
        // As a function does that is being compiled meanwhile.
        `process.on('message', () => {
           let held = new Array(1e5).fill(0).map((_, i) => ({ i }));
           setTimeout(() => { held = null; }, 10);
           process.send('held');
         });`,
      ],
      { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] },
    );
    const peer = await hub.greeted();
    const live = await readings(peer, 5, async () => {
      const held = new Promise((resolve) => child.once('message', resolve));
      child.send('hold');
      await held;
    });
    assert.ok(Math.max(...live) - Math.min(...live) < 500000, live.join(' '));
  }),
);

test('finalisers run before the reading', { timeout: 60000 }, () =>
  withHub(async (hub) => {
    const child = hub.spawn(
      [
        '-e',
        `let ran = 0; const registry = new FinalizationRegistry(() => ran++);
         (() => { for (let i = 0; i < 1000; i++) registry.register({ i }); })();
         process.on('message', () => process.send(ran));`,
      ],
      { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] },
    );
    const peer = await hub.greeted();
    await peer.call('collect');
    const ran = new Promise((resolve) => child.once('message', resolve));
    child.send('?');
    assert.equal(await ran, 1000);
  }),
);
