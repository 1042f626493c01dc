// The small subjects do what their first line says.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test from 'node:test';

import { ask, askTimes, askUntil, examples, freePort, start } from './subjects.mjs';

const within = { timeout: 120_000 };
const fault = (name, ...flags) => ['node', `faults/${name}.js`, ...flags];

/** Runs a subject that ends by itself. */
function finish(command, env = {}) {
  return spawnSync(command[0], command.slice(1), {
    cwd: examples,
    env: { ...process.env, NODE_OPTIONS: '', PORT: '0', ...env },
    encoding: 'utf8',
    timeout: 100_000,
    maxBuffer: 2 ** 26,
  });
}

test('never-ready talks and ends itself', within, () => {
  const { status, stdout } = finish(fault('never-ready'), { LIFETIME_S: '2' });
  assert.equal(status, 0);
  assert.match(stdout, /still waiting for the database \(attempt 1\)/);
  assert.doesNotMatch(stdout, /listening/);
});

test('dies-at-start dies by error, status or signal after its last words', within, () => {
  const byError = finish(fault('dies-at-start'));
  assert.equal(byError.status, 1);
  assert.match(byError.stderr, /fatal: cannot open the database[^]*Error: the database is missing/);
  assert.equal(finish(fault('dies-at-start'), { STATUS: '7', AFTER_MS: '1' }).status, 7);
  assert.equal(finish(fault('dies-at-start'), { SIGNAL: 'SIGKILL', AFTER_MS: '1' }).signal, 'SIGKILL');
});

test('slow-start listens late', within, async (t) => {
  const subject = await start(t, fault('slow-start'), { env: { START_S: '1', HEAP_MB: '5', LEAK: '100' } });
  assert.match(subject.stdout, /loading \d+ rows/);
  assert.equal((await ask(subject.port, '/')).status, 200);
});

test('all-500 answers with an error, but not on the ready path', within, async (t) => {
  const { port } = await start(t, fault('all-500'), { env: { READY_PATH: '/healthz' } });
  assert.equal((await ask(port, '/')).status, 500);
  assert.equal((await ask(port, '/healthz')).status, 200);
});

test('drop-50th drops exactly every 50th answer', within, async (t) => {
  const { port } = await start(t, fault('drop-50th'), { env: { AFTER: '60' } });
  const broken = (await askTimes(200, port, '/')).flatMap(({ status }, index) => (status === 200 ? [] : [index + 1]));
  assert.deepEqual(broken, [100, 150, 200]);
});

test('dies-after answers N requests and dies in the next', within, async (t) => {
  for (const [env, end] of [[{ STATUS: '3' }, [3, null]], [{ SIGNAL: 'SIGKILL' }, [null, 'SIGKILL']]]) {
    const subject = await start(t, fault('dies-after'), { env: { AFTER: '5', LEAK: '100', ...env } });
    const answers = await askTimes(6, subject.port, '/');
    assert.deepEqual(answers.map(({ status }) => status), [200, 200, 200, 200, 200, undefined]);
    assert.deepEqual(await subject.ended, end);
  }
});

test('hangs-after answers N requests and no more', within, async (t) => {
  for (const how of ['silent', 'busy']) {
    const { port } = await start(t, fault('hangs-after'), { env: { AFTER: '2', HOW: how, LIFETIME_S: '3' } });
    assert.deepEqual((await askTimes(2, port, '/')).map(({ status }) => status), [200, 200]);
    // It never answers; what comes is the end of its lifetime.
    assert.equal((await ask(port, '/')).status, undefined);
  }
});

test('fork-and-exit leaves a daemon in a session of its own', within, async (t) => {
  const port = await freePort();
  const { status, stdout } = finish(fault('fork-and-exit'), { PORT: String(port), LIFETIME_S: '60' });
  assert.equal(status, 0);
  const daemon = Number(/started daemon (\d+)/.exec(stdout)[1]);
  t.after(() => process.kill(daemon, 'SIGKILL'));
  await askUntil(port, '/', (answer) => answer.status === 200);
  const session = fs.readFileSync(`/proc/${daemon}/stat`, 'utf8').split(') ')[1].split(' ')[3];
  assert.equal(Number(session), daemon);
});

test('wrapper.sh stays in front of its command and passes its status on', within, () => {
  const { status, stdout } = finish(['faults/wrapper.sh', 'sh', '-c', 'exit 9']);
  assert.equal(status, 9);
  assert.match(stdout, /wrapper: starting sh\nwrapper: sh ended with status 9\n/);
});

test('noisy prints what was asked for and serves meanwhile', within, async (t) => {
  const bytes = 5_000_000;
  const noisy = await start(t, fault('noisy'), { env: { BYTES: String(bytes) } });
  assert.equal((await ask(noisy.port, '/')).status, 200);
  while (noisy.printed < bytes) await once(noisy.child.stdout, 'data');
  assert.equal((await ask(noisy.port, '/')).status, 200);
});

test('descriptor-leak keeps files open, with --fixed none', within, async (t) => {
  const open = (pid) => fs.readdirSync(`/proc/${pid}/fd`)
    .filter((entry) => fs.readlinkSync(`/proc/${pid}/fd/${entry}`).endsWith('descriptor-leak.js')).length;
  const env = { EVERY: '10' };
  const leaky = await start(t, fault('descriptor-leak'), { env });
  await askTimes(50, leaky.port, '/');
  assert.equal(open(leaky.child.pid), 5);
  const fixed = await start(t, fault('descriptor-leak', '--fixed'), { env });
  await askTimes(50, fixed.port, '/');
  assert.equal(open(fixed.child.pid), 0);
});

test('external-leak keeps memory outside the heap, with --fixed 100 buffers', within, async (t) => {
  const resident = (pid) => Number(/RssAnon:\s+(\d+) kB/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))[1]);
  const env = { KEEP: String(2 ** 19) };
  const leaky = await start(t, fault('external-leak'), { env });
  const before = resident(leaky.child.pid);
  await askTimes(120, leaky.port, '/');
  const grown = resident(leaky.child.pid) - before;
  assert.ok(grown > 0.9 * 120 * 512, `${grown} kB`);
  const fixed = await start(t, fault('external-leak', '--fixed'), { env: { KEEP: '4096' } });
  assert.equal((await askTimes(120, fixed.port, '/')).at(-1).status, 200);
});

test('growing-list answers with more and more, with --paged and --fixed with ten rows at most', within, async (t) => {
  const env = { SECTIONS: '1' };
  for (const [flags, rows] of [[[], 30], [['--paged'], 10], [['--fixed'], 10]]) {
    const { port } = await start(t, fault('growing-list', ...flags), { env });
    const answers = await askTimes(30, port, '/');
    assert.equal(JSON.parse(answers.at(-1).body).length, rows, flags.join());
  }
});

test('the other leaky subjects and their twins serve', within, async (t) => {
  for (const name of ['timer-leak', 'grows-with-time', 'worker-threads', 'cluster']) {
    for (const flags of [[], ['--fixed']]) {
      const { port } = await start(t, fault(name, ...flags), { env: { SLEEPER: '1' } });
      const answers = await askTimes(20, port, '/');
      assert.ok(answers.every(({ status }) => status === 200), `${name} ${flags}`);
    }
  }
});

test('cluster replaces a worker after its requests and loses none', within, async (t) => {
  // A port of its own: one that the workers picked would be another after the last of them has gone.
  const port = await freePort();
  const { child } = await start(t, fault('cluster'), {
    env: { PORT: String(port), WORKERS: '1', RESTART_AFTER: '3' },
  });
  const workers = () => fs.readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim();
  const first = workers();
  // As many requests as it takes: the old worker answers until the new one listens.
  await askUntil(port, '/', ({ status }) => {
    assert.equal(status, 200);
    return !workers().split(' ').includes(first);
  });
});

/** By how many kB the resident anonymous memory of `command` grows in 1.5 s. */
async function growth(t, command) {
  const child = spawn(command[0], command.slice(1), {
    env: { ...process.env, RATE: '20000000', BASE_MB: '8', LIFETIME_S: '60' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  t.after(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  await once(child.stdout, 'data');
  const resident = () => Number(/RssAnon:\s+(\d+) kB/.exec(fs.readFileSync(`/proc/${child.pid}/status`, 'utf8'))[1]);
  const first = resident();
  await new Promise((resolve) => setTimeout(resolve, 1500));
  return resident() - first;
}

test('grow.py and grow.c grow, with --flat they do not', within, async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'grow-'));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  const built = path.join(folder, 'grow');
  const { status, stderr } = spawnSync('gcc', ['-O1', '-o', built, path.join(examples, 'faults/grow.c')], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  for (const command of [['python3', path.join(examples, 'faults/grow.py')], [built]]) {
    const grows = await growth(t, command);
    const flat = await growth(t, [...command, '--flat']);
    // 29,000 kB in 1.5 s. The flat twin holds one block at a time; after a stall that block is bigger.
    assert.ok(grows > 15_000, `${command}: ${grows} kB`);
    assert.ok(flat < grows / 2, `${command} --flat: ${flat} kB`);
  }
});
