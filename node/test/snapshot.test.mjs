// The inspector is opened for a snapshot and closed behind it, whatever becomes of us.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import test from 'node:test';

import { withHub } from './hub.mjs';

/** Whether anybody takes connections there. */
function listens(url) {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = net.connect(Number(port), hostname);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

async function silence(url) {
  while (await listens(url)) await new Promise((resolve) => setTimeout(resolve, 10));
}

const SUBJECT = ['-e', 'setInterval(() => {}, 1000)'];

test('it is opened on loopback, told, and closed', { timeout: 60000 }, () =>
  withHub(async (hub) => {
    hub.spawn(SUBJECT);
    const peer = await hub.greeted();
    const { ok } = await peer.call('snapshot');
    assert.equal(ok.shared, false);
    assert.ok(ok.heap_used > 1e6);
    assert.match(ok.url, /^ws:\/\/127\.0\.0\.1:\d+\//);
    assert.equal(await listens(ok.url), true);
    assert.deepEqual((await peer.call('snapshot')).ok.url, ok.url);
    // Counting goes on meanwhile.
    assert.deepEqual((await peer.call('census', { scope: 'resources' })).ok.gaps, []);
    assert.deepEqual((await peer.call('snapshot', { end: true })).ok, {});
    assert.equal(await listens(ok.url), false);
    // Counting needs the inspector for itself again.
    assert.deepEqual((await peer.call('census', { scope: 'resources' })).ok.gaps, []);
  }),
);

test('it is closed when the hub is gone, with whoever read from it', { timeout: 60000 }, () =>
  withHub(async (hub) => {
    hub.spawn(SUBJECT);
    const peer = await hub.greeted();
    const { ok } = await peer.call('snapshot');
    const { hostname, port, pathname } = new URL(ok.url);
    const request = http.request({
      hostname,
      port,
      path: pathname,
      headers: {
        connection: 'Upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
      },
    });
    request.end();
    const [, socket] = await once(request, 'upgrade');
    socket.on('error', () => {});
    // As the kernel does it when our process dies: both at once.
    peer.socket.destroy();
    socket.destroy();
    await silence(ok.url);
  }),
);

test('an inspector of the user is lent and stays open', { timeout: 60000 }, () =>
  withHub(async (hub) => {
    hub.spawn(['--inspect=127.0.0.1:0', ...SUBJECT]);
    const peer = await hub.greeted();
    const { ok } = await peer.call('snapshot');
    assert.equal(ok.shared, true);
    await peer.call('snapshot', { end: true });
    assert.equal(await listens(ok.url), true);
  }),
);
