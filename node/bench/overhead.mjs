// What the probe costs a busy server: CPU time per request of servers that are alike but for the probe, driven in turn in
// shuffled slices. `node node/bench/overhead.mjs [SLICES]`; every batch has an A/A control. Prints the median ratio to the
// first plain server and a 95 % interval of that median (bootstrap).
import { readFileSync, writeFileSync } from 'node:fs';
import { spawn } from 'node:child_process';
import http from 'node:http';
import { join } from 'node:path';

import { withHub } from '../test/hub.mjs';

const SLICES = Number(process.argv[2] ?? 30);
const SLICE_MS = 1000;
const BATCHES = 5;
const CONNECTIONS = 8;
const TICK_MS = 10;

const SERVERS = {
  allocating: `const make = () => Array.from({ length: 1500 }, (_, i) => ({ i, name: 'n' + i, tags: [i, i + 1] }));
    answer = () => JSON.stringify(make());`,
  computing: `const { createHash } = require('crypto');
    answer = () => { let h = 'x'; for (let i = 0; i < 40; i++) h = createHash('sha256').update(h).digest('hex'); return h; };`,
};
const VARIANTS = {
  'A/A control': null,
  '1 Hz': { hz: 1 },
  '10 Hz and collections': { hz: 10, gc: true },
};

function source(server) {
  return `let answer; ${server}
    require('http').createServer((q, r) => r.end(answer())).listen(0, '127.0.0.1', function () { console.log(this.address().port); });`;
}

/** CPU time of a process in milliseconds. */
function cpu(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

function start(file, env) {
  const child = spawn(process.execPath, [file], { env: { ...process.env, NODE_OPTIONS: '', ...env }, stdio: ['ignore', 'pipe', 'inherit'] });
  return new Promise((resolve) => child.stdout.once('data', (port) => resolve({ child, port: Number(port) })));
}

/** Requests for so long; how many were answered. */
async function drive(port) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  const until = performance.now() + SLICE_MS;
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

function interval(list) {
  const medians = Array.from({ length: 2000 }, () => median(list.map(() => list[Math.floor(Math.random() * list.length)])));
  medians.sort((a, b) => a - b);
  return [medians[50], medians[1949]];
}

function shuffled(list) {
  const all = [...list];
  for (let i = all.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [all[i], all[j]] = [all[j], all[i]];
  }
  return all;
}

/** One batch of slices on fresh processes: two that are alike differ by more than their slices do. */
async function batch(server, ratios) {
  await withHub(async (hub) => {
    const file = join(hub.root, 'server.js');
    writeFileSync(file, source(server));
    const subjects = { base: await start(file, {}) };
    for (const [variant, config] of shuffled(Object.entries(VARIANTS))) {
      subjects[variant] = await start(file, config ? { NODE_OPTIONS: hub.nodeOptions } : {});
      if (config) (await hub.greeted()).send({ type: 'config', ...config });
    }
    const slice = async ({ child, port }) => {
      const before = cpu(child.pid);
      const done = await drive(port);
      return (cpu(child.pid) - before) / done;
    };
    for (const subject of Object.values(subjects)) await slice(subject);
    for (let i = 0; i < SLICES / BATCHES; i++) {
      const cost = {};
      for (const variant of shuffled(Object.keys(subjects))) cost[variant] = await slice(subjects[variant]);
      for (const variant of Object.keys(ratios)) ratios[variant].push(cost[variant] / cost.base);
    }
    for (const { child } of Object.values(subjects)) child.kill('SIGKILL');
  });
}

for (const [name, server] of Object.entries(SERVERS)) {
  const ratios = Object.fromEntries(Object.keys(VARIANTS).map((variant) => [variant, []]));
  for (let i = 0; i < BATCHES; i++) await batch(server, ratios);
  for (const [variant, list] of Object.entries(ratios)) {
    const [low, high] = interval(list);
    console.log(`${name}, ${variant}: ${median(list).toFixed(3)} (95 % of the median ${low.toFixed(3)} … ${high.toFixed(3)}; ${list.length} pairs)`);
  }
}
process.exit(0);
