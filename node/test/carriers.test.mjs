// The ways in which a Node isolate comes to life with the probe in it.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';

import { version, withHub } from './hub.mjs';

const [major, minor] = version;

function write(hub, name, text) {
  const path = join(hub.root, name);
  writeFileSync(path, text);
  return path;
}

test('options that are there are kept', { timeout: 60000 }, () =>
  withHub(async (hub) => {
    hub.spawn(['-e', 'setInterval(() => {}, 1000)'], { options: `${hub.nodeOptions} --max-old-space-size=64` });
    const { hello } = await hub.greeted();
    assert.ok(hello.heap_limit < 512 * 2 ** 20, `limit ${hello.heap_limit}`);
  }),
);

test('a carrier whose path has spaces, quotes and backslashes', { timeout: 60000 }, () =>
  withHub(async (hub) => {
    hub.spawn(['-e', 'setInterval(() => {}, 1000)']);
    assert.equal((await hub.greeted()).hello.main, true);
  }, 'a "b" \\c'),
);

test('an ES module', { timeout: 60000 }, () =>
  withHub(async (hub) => {
    const path = write(hub, 'main.mjs', 'await 0; setInterval(() => {}, 1000);');
    hub.spawn([path]);
    const { hello } = await hub.greeted();
    assert.equal(hello.argv[1], path);
  }),
);

test('a shell that starts a node', { timeout: 60000 }, () =>
  withHub(async (hub) => {
    hub.spawn(['-c', `"${process.execPath}" -e "setInterval(() => {}, 1000)" & child=$!; trap "kill $child" TERM EXIT; wait`], {
      execPath: '/bin/sh',
    });
    const peer = await hub.greeted();
    assert.equal(peer.hello.main, true);
    process.kill(peer.hello.pid, 'SIGKILL');
    await peer.ended();
  }),
);

test('an isolate whose event loop never turns is known all the same, with its first readings', { timeout: 60000 }, () =>
  withHub(async (hub) => {
    const sleeper = 'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)';
    hub.spawn(['-e', `new (require('worker_threads').Worker)(${JSON.stringify(sleeper)}, { eval: true, name: 'napper' })`]);
    const peers = [await hub.greeted(), await hub.greeted()];
    const asleep = peers.find((peer) => !peer.hello.main);
    assert.ok(asleep.hello.isolate > 0);
    assert.ok(asleep.hello.values.heap_used > 1e5);
  }),
);

test('a forked child and the workers of a cluster each speak for themselves', { timeout: 60000 }, () =>
  withHub(async (hub) => {
    const path = write(
      hub,
      'cluster.js',
      `const cluster = require('cluster');
       if (cluster.isMaster) { cluster.fork(); cluster.fork(); process.on('disconnect', () => process.exit()); }
       else { require('http').createServer().listen(0, '127.0.0.1'); process.on('disconnect', () => process.exit()); }`,
    );
    hub.spawn([path], { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
    const hellos = [];
    for (let i = 0; i < 3; i++) hellos.push((await hub.greeted()).hello);
    const main = hellos.find((h) => hellos.some((other) => other.ppid === h.pid));
    assert.equal(hellos.filter((h) => h.ppid === main.pid && h.isolate === 0).length, 2);
  }),
);

test('a worker thread is an isolate of its own; one that sleeps keeps only itself from answering', { timeout: 60000 }, () =>
  withHub(async (hub) => {
    const path = write(
      hub,
      'threads.js',
      `const { Worker, isMainThread, parentPort } = require('worker_threads');
       if (isMainThread) {
         const worker = new Worker(__filename);
         process.on('message', (m) => worker.postMessage(m));
       } else parentPort.on('message', (m) => {
         if (m === 'sleep') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
         if (m === 'end') process.exit();
       });`,
    );
    const child = hub.spawn([path], { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
    const peers = [await hub.greeted(), await hub.greeted()];
    const main = peers.find((p) => p.hello.main);
    const worker = peers.find((p) => !p.hello.main);
    assert.equal(main.hello.pid, worker.hello.pid);
    assert.equal(main.hello.isolate, 0);
    assert.ok(worker.hello.isolate > 0);
    assert.ok((await worker.call('collect')).ok.values.live_bytes > 0);
    assert.ok((await worker.call('census', { scope: 'resources' })).ok);
    child.send('sleep');
    worker.send({ type: 'cmd', id: 99, op: 'gauges', args: {}, deadline_ms: 1000 });
    assert.ok((await main.call('collect')).ok);
    assert.ok((await main.call('collect')).ok);
    child.kill();
    await worker.ended();
    const { stderr } = await child.done;
    assert.equal(stderr, '');
  }),
);

test('loader hooks of ES modules work as before', { timeout: 60000, skip: major < 20 || (major === 20 && minor < 6) }, () =>
  withHub(async (hub) => {
    write(hub, 'hooks.mjs', 'export async function resolve(s, c, next) { return next(s === "virtual:x" ? "node:path" : s, c); }');
    const register = write(
      hub,
      'register.mjs',
      'import { register } from "node:module"; register(new URL("./hooks.mjs", import.meta.url));',
    );
    const path = write(hub, 'main.mjs', 'import x from "virtual:x"; console.log(typeof x.join);');
    const done = await hub.spawn(['--import', register, path]).done;
    assert.deepEqual(done, { code: 0, signal: null, stdout: 'function\n', stderr: '' });
  }),
);
