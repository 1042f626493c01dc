// What the census counts, against subjects whose counts are known.
import assert from 'node:assert/strict';
import test from 'node:test';

import { version, withHub } from './hub.mjs';

const STDIO = ['ignore', 'pipe', 'pipe', 'ipc'];

/** Counts by `family kind`. */
async function census(peer, op = 'census') {
  const { ok } = await peer.call(op, { scope: 'resources' });
  return { ...ok, count: (family, kind) => ok.rows.find((r) => r.family === family && r.kind === kind)?.count ?? 0 };
}

test('listeners by emitter class and event', { timeout: 60000 }, () =>
  withHub(async (hub) => {
    hub.spawn([
      '-e',
      `const EventEmitter = require('events');
       class Bus extends EventEmitter { get trap() { throw Error('a getter ran'); } }
       class Silent extends EventEmitter {}
       globalThis.kept = [new Bus(), new Bus(), new Silent()];
       kept[0].setMaxListeners(0);
       for (let i = 0; i < 12; i++) kept[0].on('tick', () => {});
       kept[1].on('tick', () => {});
       kept[1].on(Symbol('secret'), () => {});
       for (let i = 0; i < 5; i++) kept[1].once('job:' + i + ':done', () => {});
       new Bus().on('gone', () => {});
       const anonymous = Object.create(EventEmitter.prototype, { constructor: { get() { throw Error('a getter ran'); } } });
       EventEmitter.call(anonymous); anonymous.on('x', () => {}); kept.push(anonymous);
       kept.push(new Proxy(new Bus(), { get() { throw Error('a trap ran'); } }));
       setInterval(() => {}, 1000);`,
    ]);
    const found = await census(await hub.greeted());
    assert.deepEqual(found.gaps, []);
    assert.equal(found.count('listeners', 'Bus:tick'), 13);
    assert.equal(found.count('listeners', 'Bus:Symbol(secret)'), 1);
    assert.equal(found.count('listeners', 'Bus:job:#:done'), 5);
    assert.equal(found.count('listeners', 'Bus:gone'), 0);
    assert.equal(found.count('listeners', 'EventEmitter:x'), 1);
    assert.equal(found.rows.some((r) => r.kind.startsWith('Silent')), false);
    // The probe's own socket, session and timers are not the subject's.
    assert.equal(found.rows.some((r) => /Socket|Session/.test(r.kind)), false);
  }),
);

test('timers, repeating or not, unref’ed or not, until they are over', { timeout: 60000 }, () =>
  withHub(async (hub) => {
    const child = hub.spawn(
      [
        '-e',
        `globalThis.kept = [];
         function beat() {} function once() {}
         for (let i = 0; i < 5; i++) kept.push(setInterval(beat, 1e6));
         for (let i = 0; i < 3; i++) kept.push(setTimeout(once, 1e6).unref());
         for (let i = 0; i < 4; i++) { const t = setTimeout(once, 1e6); clearTimeout(t); kept.push(t); }
         kept.push(setTimeout(function fired() { process.send('fired'); }, 1));
         process.on('message', () => {});`,
      ],
      { stdio: STDIO },
    );
    const fired = new Promise((resolve) => child.once('message', resolve));
    const peer = await hub.greeted();
    peer.send({ type: 'config', hz: 10 });
    await fired;
    const found = await census(peer);
    assert.equal(found.count('timers', 'setInterval beat'), 5);
    assert.equal(found.count('timers', 'setTimeout once'), 3);
    assert.equal(found.count('timers', 'setTimeout fired'), 0);
    assert.deepEqual(
      found.rows.filter((r) => r.family === 'timers').map((r) => r.count),
      [5, 3],
    );
  }),
);

test('what the event loop waits for, by type', { timeout: 60000 }, () =>
  withHub(async (hub) => {
    const child = hub.spawn(
      [
        '-e',
        `const net = require('net');
         let ready = 0; const up = () => { if (++ready === 3) process.send('up'); };
         for (let i = 0; i < 3; i++) net.createServer().listen(0, '127.0.0.1', up);
         process.on('message', () => {});`,
      ],
      { stdio: STDIO },
    );
    const up = new Promise((resolve) => child.once('message', resolve));
    const peer = await hub.greeted();
    await up;
    const found = await census(peer);
    if (version[0] > 16) assert.equal(found.count('resources', 'TCPServerWrap'), 3);
    assert.equal(found.count('handles', 'Server'), 3);
    const cheap = await census(peer, 'resources');
    assert.equal(cheap.count('handles', 'Server'), 3);
    assert.equal(cheap.rows.some((r) => r.family === 'listeners'), false);
  }),
);

test('many kinds: the largest by name, the rest as one', { timeout: 60000 }, () =>
  withHub(async (hub) => {
    hub.spawn([
      '-e',
      `const EventEmitter = require('events');
       const letters = (i) => i.toString(26).replace(/[0-9]/g, (d) => 'qrstuvwxyz'[d]);
       globalThis.bus = new EventEmitter();
       for (let i = 0; i < 300; i++) bus.on('event-' + letters(i), () => {});
       for (let i = 0; i < 9; i++) bus.on('hot', () => {});
       setInterval(() => {}, 1000);`,
    ]);
    const found = await census(await hub.greeted(), 'listeners');
    assert.equal(found.rows[0].kind, 'EventEmitter:hot');
    assert.ok(found.rows.length <= 201);
    const total = found.rows.reduce((sum, r) => sum + r.count, 0);
    assert.ok(total >= 309, `${total} listeners`);
    assert.ok(found.count('listeners', 'other') > 100);
  }),
);

test('objects by class, and who allocated them since', { timeout: 60000 }, () =>
  withHub(async (hub) => {
    const child = hub.spawn(
      [
        '-e',
        `class Parcel { constructor(i) { this.text = 'x'.repeat(200) + i; } }
         globalThis.kept = [];
         function pack(n) { for (let i = 0; i < n; i++) kept.push(new Parcel(i)); }
         kept.push(new Proxy(new Parcel(-1), { getPrototypeOf() { throw Error('a trap ran'); } }));
         pack(500);
         process.on('message', (n) => { pack(n); process.send('packed'); });
         process.send('up');`,
      ],
      { stdio: STDIO },
    );
    await new Promise((resolve) => child.once('message', resolve));
    const peer = await hub.greeted();
    const count = async () => (await peer.call('classes', {})).ok.rows;
    const parcels = (rows) => rows.find((r) => r.family === 'objects' && r.kind === 'Parcel').count;
    // The one behind the proxy is counted too: it lives.
    assert.equal(parcels(await count()), 501);
    child.send(20000);
    await new Promise((resolve) => child.once('message', resolve));
    const rows = await count();
    assert.equal(parcels(rows), 20501);
    const made = rows.filter((r) => r.family === 'allocations');
    assert.match(made[0].kind, /^(pack|Parcel) /);
    assert.ok(made[0].bytes > 1e5, JSON.stringify(made));
  }),
);

test('an inspector in use is left alone, and the gap is said', { timeout: 60000 }, () =>
  withHub(async (hub) => {
    hub.spawn(['--inspect=127.0.0.1:0', '-e', 'setInterval(() => {}, 1000)']);
    const found = await census(await hub.greeted());
    assert.deepEqual(found.gaps, [{ what: 'listeners and timers', why: 'the inspector is in use' }]);
  }),
);

test('timers that would outlast the deadline are left out, and it is said', { timeout: 60000 }, () =>
  withHub(async (hub) => {
    hub.spawn(['-e', 'setInterval(() => {}, 1000)']);
    const peer = await hub.greeted();
    const { ok } = await peer.call('census', { scope: 'resources' }, 0.001);
    assert.equal(ok.gaps[0].what, 'timers');
    assert.ok(ok.rows.some((r) => r.family === 'listeners'));
    assert.ok(!ok.rows.some((r) => r.family === 'timers'));
  }),
);
