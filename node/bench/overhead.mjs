// What the probe costs: CPU time per request of busy servers that are alike but for the probe, and what it adds to the start of
// a process. `node node/bench/overhead.mjs [PAIRS [starts|servers]]`.
//
// A pair is two fresh processes, driven in turn in short, shuffled slices: servers that are alike differ more from each other
// than their slices do, so only fresh ones are independent. CPU time is what the scheduler counted for all their threads, in
// nanoseconds. Beside each figure stands an A/A control, and what prom-client costs where it is installed:
// `npm install --prefix target/peers prom-client`. (clinic 13 does not run on Node 20.20: its sampler throws.)
import { existsSync, mkdtempSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { withHub } from '../test/hub.mjs';

const PAIRS = Number(process.argv[2] ?? 30);
const SLICES = 6;
const SLICE_MS = 250;
const WARM_UP_MS = 1000;
const CONNECTIONS = 8;
const HALF_WIDTH = 0.02;

const PEERS = join(dirname(fileURLToPath(import.meta.url)), '../../target/peers');

const SERVERS = {
  allocating: `const make = () => Array.from({ length: 1500 }, (_, i) => ({ i, name: 'n' + i, tags: [i, i + 1] }));
    answer = () => JSON.stringify(make());`,
  computing: `const { createHash } = require('crypto');
    answer = () => { let h = 'x'; for (let i = 0; i < 40; i++) h = createHash('sha256').update(h).digest('hex'); return h; };`,
};

/** What a subject is started with: the probe and its configuration, or the flags of another observer. */
const VARIANTS = {
  'A/A control': {},
  '1 Hz': { probe: { hz: 1 }, most: 1.01 },
  '10 Hz and collections': { probe: { hz: 10, gc: true }, most: 1.03 },
  ...peers(),
};

function peers() {
  const require = createRequire(join(PEERS, 'package.json'));
  const found = {};
  const folder = mkdtempSync(join(tmpdir(), 'plimsoll-peers-'));
  if (existsSync(join(PEERS, 'node_modules/prom-client'))) {
    const metrics = join(folder, 'metrics.cjs');
    const client = JSON.stringify(require.resolve('prom-client'));
    writeFileSync(metrics, `const c = require(${client}); c.collectDefaultMetrics(); setInterval(() => c.register.metrics(), 1000).unref();`);
    found['prom-client, read each second'] = { flags: ['--require', metrics] };
  }
  return found;
}

function source(server) {
  return `let answer; ${server}
    require('http').createServer((q, r) => r.end(answer())).listen(0, '127.0.0.1', function () { console.log(this.address().port); });`;
}

/** CPU time of a process in nanoseconds, over all its threads. */
function cpu(pid) {
  const tasks = readdirSync(`/proc/${pid}/task`);
  return tasks.reduce((sum, task) => sum + Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'latin1').split(' ')[0]), 0);
}

function start(args, variables) {
  const env = { ...process.env, NODE_OPTIONS: '', ...variables };
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'inherit'] });
  return new Promise((resolve) => child.stdout.once('data', (port) => resolve({ child, port: Number(port) })));
}

/** Requests for so long; how many were answered. */
async function drive(port, length) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  const until = performance.now() + length;
  let done = 0;
  const one = () =>
    new Promise((resolve, reject) =>
      http.get({ port, host: '127.0.0.1', agent }, (answer) => answer.resume().on('end', resolve)).on('error', reject),
    );
  const lane = async () => {
    while (performance.now() < until) {
      await one();
      done++;
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, lane));
  agent.destroy();
  return done;
}

const median = (list) => {
  const sorted = [...list].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
};

/** A median with its 95 % interval by order statistics (David and Nagaraja, Order Statistics, 7.1). */
function interval(list) {
  const sorted = [...list].sort((a, b) => a - b);
  const at = (rank) => sorted[Math.min(Math.max(rank, 0), sorted.length - 1)];
  const half = 0.98 * Math.sqrt(sorted.length);
  return [at(Math.floor(sorted.length / 2 - half)), at(Math.ceil(sorted.length / 2 + half) - 1)];
}

function shuffled(list) {
  const all = [...list];
  for (let i = all.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [all[i], all[j]] = [all[j], all[i]];
  }
  return all;
}

/** What a figure says of its target: an interval that is too wide says nothing. */
function verdict(low, high, most, halfWidth) {
  if ((high - low) / 2 > halfWidth) return 'not resolvable here';
  return low <= most ? 'holds' : 'missed';
}

/** One fresh process of each variant; adds the ratio of each to the plain one. */
async function pair(server, ratios) {
  await withHub(async (hub) => {
    const file = join(hub.root, 'server.js');
    writeFileSync(file, source(server));
    const subjects = {};
    for (const [name, variant] of shuffled([['plain', {}], ...Object.entries(VARIANTS)])) {
      const env = variant.probe ? { NODE_OPTIONS: hub.nodeOptions } : {};
      subjects[name] = await start([...(variant.flags ?? []), file], env);
      if (variant.probe) (await hub.greeted()).send({ type: 'config', ...variant.probe });
    }
    const spent = {};
    for (const name of Object.keys(subjects)) {
      await drive(subjects[name].port, WARM_UP_MS);
      spent[name] = { cpu: 0, done: 0 };
    }
    for (let i = 0; i < SLICES; i++) {
      for (const name of shuffled(Object.keys(subjects))) {
        const { child, port } = subjects[name];
        const before = cpu(child.pid);
        spent[name].done += await drive(port, SLICE_MS);
        spent[name].cpu += cpu(child.pid) - before;
      }
    }
    const cost = ({ cpu, done }) => cpu / done;
    for (const name of Object.keys(ratios)) ratios[name].push(cost(spent[name]) / cost(spent.plain));
    for (const { child } of Object.values(subjects)) child.kill('SIGKILL');
  });
}

async function servers() {
  for (const [server, text] of Object.entries(SERVERS)) {
    const ratios = Object.fromEntries(Object.keys(VARIANTS).map((name) => [name, []]));
    for (let i = 0; i < PAIRS; i++) await pair(text, ratios);
    for (const [name, list] of Object.entries(ratios)) {
      const [low, high] = interval(list);
      const { most } = VARIANTS[name];
      const said = most ? `   wanted ≤ ${most.toFixed(2)}: ${verdict(low, high, most, HALF_WIDTH)}` : '';
      const spread = `${Math.min(...list).toFixed(2)} to ${Math.max(...list).toFixed(2)}`;
      console.log(
        `${server}, ${name}: ${median(list).toFixed(3)} of the CPU time per request (95 % CI ${low.toFixed(3)} … ${high.toFixed(3)}; ${list.length} pairs, ${spread})${said}`,
      );
    }
  }
}

/** What a process that does nothing takes, in milliseconds: by the clock from start to end, and of CPU by its own word at its end. */
function life(options) {
  const script = `process.on('exit', () => { const u = process.cpuUsage(); require('fs').writeSync(1, String(u.user + u.system)); })`;
  return new Promise((resolve) => {
    const begun = performance.now();
    let said = '';
    const env = { ...process.env, NODE_OPTIONS: options };
    const child = spawn(process.execPath, ['-e', script], { env, stdio: ['ignore', 'pipe', 'inherit'] });
    child.stdout.on('data', (text) => (said += text));
    child.on('close', () => resolve({ CPU: Number(said) / 1e3, clock: performance.now() - begun }));
  });
}

async function starts() {
  const most = 10;
  await withHub(async (hub) => {
    const added = { 'A/A control': { CPU: [], clock: [] }, 'the probe': { CPU: [], clock: [] } };
    for (let i = 0; i < 2 * PAIRS; i++) {
      const took = {};
      for (const name of shuffled(['plain', ...Object.keys(added)])) took[name] = await life(name === 'the probe' ? hub.nodeOptions : '');
      for (const [name, by] of Object.entries(added)) {
        for (const [unit, list] of Object.entries(by)) list.push(took[name][unit] - took.plain[unit]);
      }
    }
    for (const [name, by] of Object.entries(added)) {
      for (const [unit, list] of Object.entries(by)) {
        const [low, high] = interval(list);
        const said = name === 'the probe' ? `   wanted ≤ ${most} ms: ${verdict(low, high, most, most / 5)}` : '';
        console.log(`start of a process, ${name}: ${median(list).toFixed(2)} ms of ${unit} (95 % CI ${low.toFixed(2)} … ${high.toFixed(2)}; ${list.length} pairs)${said}`);
      }
    }
  });
}

if (process.argv[3] !== 'servers') await starts();
if (process.argv[3] !== 'starts') await servers();
process.exit(0);
