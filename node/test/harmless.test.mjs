// The probe must not be noticed: same output, same exit, same process surface as without it.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';

import { withHub } from './hub.mjs';

const SCRIPTS = {
  'an empty script': '0',
  'a script that prints and exits': 'console.log("out"); console.error("err"); process.exitCode = 3',
  'process.exit': 'setInterval(() => {}, 1000); setTimeout(() => process.exit(7), 5)',
  'an exception nobody catches': 'function f() { throw new Error("boom"); } f()',
  'an exception in a later turn': 'setTimeout(() => { throw new TypeError("late"); }, 5)',
  'a rejection nobody handles': 'Promise.reject(new Error("no"))',
  'an exception handler': 'process.on("uncaughtException", (e) => console.log("caught", e.message)); setTimeout(() => { throw Error("x"); }, 1)',
  'the order of the last events': 'process.on("beforeExit", () => console.log("before")); process.on("exit", (c) => console.log("exit", c)); setImmediate(() => console.log("turn"))',
  'death by signal': 'process.kill(process.pid, "SIGTERM"); setInterval(() => {}, 1000)',
  'a pending top-level wait': 'new Promise(() => {}).then(() => {})',
  'modules in the cache': 'console.log(Object.keys(require.cache).length, module.children.length)',
};

for (const [name, script] of Object.entries(SCRIPTS)) {
  test(`unchanged: ${name}`, { timeout: 60000 }, () =>
    withHub(async (hub) => {
      const run = async (options) => {
        const done = await hub.spawn(['-e', script], { options }).done;
        return { ...done, stderr: done.stderr.replace(/\(node:\d+\)/g, '(node)') };
      };
      assert.deepEqual(await run(hub.nodeOptions), await run(''));
    }),
  );
}

test('unchanged: a script whose hub is gone', { timeout: 60000 }, () =>
  withHub(async (hub) => {
    await new Promise((resolve) => hub.server.close(resolve));
    const done = await hub.spawn(['-e', 'setTimeout(() => console.log("done"), 20)']).done;
    assert.deepEqual(done, { code: 0, signal: null, stdout: 'done\n', stderr: '' });
  }),
);

/** A subject that answers any message with all that it can see of its process. */
const SURFACE = `
  process.stderr; // Node itself makes it when the first socket of a process is destroyed, ours included.
  const vm = require('vm');
  const surface = () => ({
    listeners: process.eventNames().map((n) => [String(n), process.listenerCount(n)]).sort(),
    globals: Object.getOwnPropertyNames(globalThis).sort(),
    symbols: Object.getOwnPropertySymbols(globalThis).map(String),
    gc: typeof gc,
    gcElsewhere: vm.runInNewContext('typeof gc'),
    handles: process._getActiveHandles().map((h) => h.constructor.name).sort(),
    requests: process._getActiveRequests().length,
    resources: process.getActiveResourcesInfo ? process.getActiveResourcesInfo().sort() : [],
    execArgv: process.execArgv,
    argv: process.argv,
    cache: Object.keys(require.cache),
    emitter: Object.getOwnPropertyNames(require('events').prototype).sort(),
  });
  process.on('message', () => process.send(surface()));
  setInterval(() => {}, 1000);
`;
const STDIO = ['ignore', 'pipe', 'pipe', 'ipc'];

async function ask(child) {
  const answer = new Promise((resolve) => child.once('message', resolve));
  child.send('surface');
  return answer;
}

test('unchanged: the process surface, also after collections and censuses', { timeout: 60000 }, () =>
  withHub(async (hub) => {
    const plain = await ask(hub.spawn(['-e', SURFACE], { options: '', stdio: STDIO }));
    const child = hub.spawn(['-e', SURFACE], { stdio: STDIO });
    const peer = await hub.greeted();
    // Hello comes before the event loop has heard of the connection.
    assert.ok((await peer.call('gauges')).ok);
    assert.deepEqual(await ask(child), plain);
    peer.send({ type: 'config', hz: 50, gc: true });
    for (let i = 0; i < 3; i++) {
      assert.ok((await peer.call('collect')).ok);
      assert.ok((await peer.call('census', { scope: 'resources' })).ok);
    }
    assert.deepEqual(await ask(child), plain);
  }),
);

test('a collector of the user stays the user’s', { timeout: 60000 }, () =>
  withHub(async (hub) => {
    const child = hub.spawn(['--expose-gc', '-e', SURFACE], { stdio: STDIO });
    const peer = await hub.greeted();
    assert.ok((await peer.call('collect')).ok);
    const { gc, gcElsewhere } = await ask(child);
    assert.equal(gc, 'function');
    assert.equal(gcElsewhere, 'function');
  }),
);

test('a hub that is killed leaves the subject as it was', { timeout: 60000 }, () =>
  withHub(async (hub) => {
    const plain = await ask(hub.spawn(['-e', SURFACE], { options: '', stdio: STDIO }));
    const child = hub.spawn(['-e', SURFACE], { stdio: STDIO });
    const peer = await hub.greeted();
    peer.send({ type: 'config', hz: 100, gc: true });
    await peer.next((m) => m.type === 's');
    peer.send({ type: 'cmd', id: 1, op: 'collect', args: {}, deadline_ms: 1000 });
    peer.socket.destroy();
    let surface = await ask(child);
    // The collection under way has one more turn before it notices.
    while (surface.resources.includes('Immediate')) surface = await ask(child);
    assert.deepEqual(surface, plain);
    child.kill('SIGTERM');
    assert.deepEqual(await child.done, { code: null, signal: 'SIGTERM', stdout: '', stderr: '' });
  }),
);

test('a hub that does not read gets drops, and the subject lives on', { timeout: 60000 }, () =>
  withHub(async (hub) => {
    const child = hub.spawn(['-e', SURFACE], { stdio: STDIO });
    const peer = await hub.greeted();
    peer.send({ type: 'config', hz: 0 });
    peer.socket.pause();
    // Every `gauges` answers at once: the socket fills without waiting for time to pass.
    peer.send({ type: 'config', hz: 100 });
    for (let i = 0; i < 4000; i++) peer.send({ type: 'cmd', id: i, op: 'gauges', args: {}, deadline_ms: 1000 });
    assert.equal((await ask(child)).gc, 'undefined');
    await new Promise((resolve) => setTimeout(resolve, 100));
    peer.socket.resume();
    const drop = await peer.next((m) => m.type === 'drop');
    assert.ok(drop.n > 0);
  }),
);

test('a startup snapshot can still be built', { timeout: 60000 }, () =>
  withHub(async (hub) => {
    const entry = join(hub.root, 'entry.js');
    writeFileSync(entry, 'globalThis.built = true;');
    const args = ['--snapshot-blob', join(hub.root, 'snap.blob'), '--build-snapshot', entry];
    const plain = await hub.spawn(args, { options: '' }).done;
    assert.deepEqual(await hub.spawn(args).done, plain);
  }),
);
