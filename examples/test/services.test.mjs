// The example services: what they answer, that the leaky side keeps things and the fixed side does not.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import path from 'node:path';
import test from 'node:test';
import { promisify } from 'node:util';

import { ask, askTimes, askUntil, examples, start } from './subjects.mjs';

const session = ['node', 'node/session-map/server.js'];
const listener = ['node', 'node/request-listener/server.js'];
const cache = ['node', 'node/bounded-cache/server.js'];

const parcels = ['node', 'node/parcel-desk/server.js'];

const within = { timeout: 120_000 };

async function count(port) {
  return Number(/\d+/.exec((await ask(port, '/healthz')).body)[0]);
}

test('session-map answers GET and POST and knows a browser again', within, async (t) => {
  const { port } = await start(t, session);
  const first = await ask(port, '/login');
  assert.equal(first.status, 200);
  assert.equal((await ask(port, '/login', { method: 'POST' })).status, 200);
  assert.equal((await ask(port, '/login', { method: 'PUT' })).status, 405);
  assert.equal((await ask(port, '/elsewhere')).status, 404);
  const cookie = first.headers['set-cookie'][0].split(';')[0];
  const again = await ask(port, '/login', { headers: { cookie } });
  assert.equal(again.body, first.body);
  assert.equal(await count(port), 2);
});

test('session-map keeps every session, with --fixed 500 of them', within, async (t) => {
  const leaky = await start(t, session);
  await askTimes(600, leaky.port, '/login');
  assert.equal(await count(leaky.port), 600);
  const fixed = await start(t, [...session, '--fixed']);
  await askTimes(600, fixed.port, '/login');
  assert.equal(await count(fixed.port), 500);
});

test('request-listener keeps a listener per request and warns once, with --fixed none', within, async (t) => {
  const leaky = await start(t, listener);
  await askTimes(50, leaky.port, '/front-page');
  assert.equal(await count(leaky.port), 50);
  assert.equal(leaky.stderr.match(/MaxListenersExceededWarning/g).length, 1);
  const fixed = await start(t, [...listener, '--fixed']);
  await askTimes(50, fixed.port, '/front-page');
  await askUntil(fixed.port, '/healthz', ({ body }) => body.startsWith('ok, 0 '));
  assert.equal(fixed.stderr, '');
});

test('bounded-cache fills and stays level, with --unbounded it does not', within, async (t) => {
  const env = { CACHE_ENTRIES: '100' };
  for (const [flags, pages] of [[[], 100], [['--fixed'], 100], [['--unbounded'], 250]]) {
    const { port } = await start(t, [...cache, ...flags], { env });
    await askTimes(250, port, '/catalogue');
    assert.equal(await count(port), pages, flags.join());
  }
});

test('bounded-cache answers a visitor it knows from the cache', within, async (t) => {
  const { port } = await start(t, cache);
  const first = await ask(port, '/catalogue');
  const again = await ask(port, '/catalogue', { headers: { cookie: first.headers['set-cookie'][0] } });
  assert.equal(again.headers.etag, first.headers.etag);
  assert.equal(await count(port), 1);
});

test('the services end with status 0 on SIGTERM', within, async (t) => {
  for (const command of [session, listener, cache]) {
    const subject = await start(t, command);
    subject.child.kill('SIGTERM');
    assert.deepEqual(await subject.ended, [0, null]);
  }
});

test('truth.mjs tells the leaky service from the fixed one', within, async () => {
  const truth = async (...flags) => {
    const { stdout } = await promisify(execFile)('node', [
      path.join(examples, 'truth.mjs'), path.join(examples, 'node/session-map/server.js'),
      '--path', '/login', '--warm-up', '1000', '--operations', '500', '--json', ...flags,
    ]);
    return JSON.parse(stdout);
  };
  const leaky = await truth();
  const fixed = await truth('--fixed');
  assert.deepEqual(leaky.readings.map(({ operations }) => operations), [1000, 1500, 6500]);
  assert.ok(leaky.bytes_per_op > 1200 && leaky.bytes_per_op < 2400, `leaky: ${leaky.bytes_per_op}`);
  assert.ok(Math.abs(fixed.bytes_per_op) < 300, `fixed: ${fixed.bytes_per_op}`);
});

test('truth.mjs fails in one line when requests fail', within, async () => {
  await assert.rejects(
    promisify(execFile)('node', [
      path.join(examples, 'truth.mjs'), path.join(examples, 'node/session-map/server.js'), '--path', '/elsewhere',
    ]),
    (error) => error.code === 1 && /^truth: GET \/elsewhere answered 404$/m.test(error.stderr),
  );
});

test('parcel-desk keeps something at two of its twelve endpoints, with --fixed at none', within, async (t) => {
  for (const [flags, kept] of [[[], 30], [['--fixed'], 0]]) {
    const { port } = await start(t, [...parcels, ...flags]);
    for (const path of ['/labels', '/couriers/where', '/parcels', '/depots/full', '/imprint']) {
      for (const { status } of await askTimes(30, port, path)) assert.equal(status, 200);
    }
    assert.equal((await ask(port, '/elsewhere')).status, 404);
    assert.equal((await ask(port, '/healthz')).body, `ok, ${kept} labels, ${kept} sightings\n`);
  }
});
