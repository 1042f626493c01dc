// How long `check` takes from the verdict to the culprit on a large heap, and what memory that costs us.
// Usage: node explain.mjs [MEBIBYTES OF HEAP]. PLIMSOLL names a binary; without, one is built.
//
// The time is from the end of the last judged round to the end of the run: three windows of load, three snapshots (four of a
// small heap), idling.
// While the last snapshot streams, our memory is its columns (17 bytes an object, 8 a reference, the strings) and what the
// streaming itself takes, which is what is asked to be small. The pages of the program's own file are told apart: they are resident
// before anything streams, and the system takes them when it needs them.
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';

const live = process.argv[2] ?? '100';
const here = import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname);
const binary = process.env.PLIMSOLL ?? path.join(here, '../../target/release/plimsoll');
if (!process.env.PLIMSOLL) spawnSync('cargo', ['build', '--release', '-p', 'plimsoll-cli'], { stdio: 'inherit', cwd: here });
const place = fs.mkdtempSync(path.join(os.tmpdir(), 'plimsoll-explain-'));
const port = await new Promise((resolve) => {
  const server = net.createServer().listen(0, '127.0.0.1', () => {
    const free = server.address().port;
    server.close(() => resolve(free));
  });
});

const check = spawn(
  binary,
  ['check', '--json', '--keep-snapshots', '--url', `http://127.0.0.1:${port}/articles?from={{seq}}&sort=price`, '--', 'node', '--expose-gc', path.join(here, 'server.mjs')],
  { cwd: place, env: { ...process.env, PORT: String(port), LIVE_MB: live, NODE_OPTIONS: '' }, stdio: ['ignore', 'pipe', 'ignore'] },
);
let answer = '';
check.stdout.on('data', (data) => (answer += data));
const ended = new Promise((resolve) => check.once('exit', resolve));

const resident = () => {
  const status = fs.readFileSync(`/proc/${check.pid}/status`, 'utf8');
  const bytes = (name) => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1] ?? 0) * 1024;
  return { rss: bytes('VmRSS'), file: bytes('RssFile') };
};
/** Sizes of the snapshots that are being kept, by name. */
const kept = () => {
  const found = {};
  for (const file of fs.readdirSync(place, { recursive: true })) {
    if (file.endsWith('.heapsnapshot')) found[path.basename(file)] = fs.statSync(path.join(place, file)).size;
  }
  return found;
};
const LAST = '4-final.heapsnapshot';
const seen = [];
const timer = setInterval(() => {
  try {
    seen.push({ ...resident(), size: kept()[LAST] ?? 0 });
  } catch { /* It has ended. */ }
}, 5);
const code = await ended;
clearInterval(timer);

const run = JSON.parse(answer);
const file = fs.readdirSync(place, { recursive: true }).find((name) => name.endsWith(LAST));
const measured = run.rounds.filter((round) => round.kind === 'measured');
const seconds = (run.duration - measured.at(-1).end) / 1e9;
const heap = measured.at(-1).values.heap_used;
const culprit = run.culprits[0];
console.log(`exit ${code}: ${run.verdict.outcome}, heap ${(heap / 2 ** 20).toFixed(0)} MiB, ${seconds.toFixed(1)} s from the verdict to: ${culprit?.kind} in ${culprit?.holder} at ${culprit?.place}`);
// Where the time went: what is between two rounds are snapshots, pauses and the load.
let before = measured.at(-1).end;
for (const round of run.rounds.slice(run.rounds.indexOf(measured.at(-1)) + 1)) {
  const at = (time) => ((time - measured.at(-1).end) / 1e9).toFixed(2).padStart(6);
  console.log(`${at(before)} … ${at(round.start)} … ${at(round.end)} s  ${round.kind}, ${round.done} operations`);
  before = round.end;
}
console.log(`${((before - measured.at(-1).end) / 1e9).toFixed(2).padStart(6)} … ${seconds.toFixed(2).padStart(6)} s  the rest`);
for (const gap of run.gaps) console.log(`not observed: ${gap.what}: ${gap.why}`);
if (file) {
  const whole = path.join(place, file);
  const size = fs.statSync(whole).size;
  const text = fs.readFileSync(whole);
  const count = (name) => Number(new RegExp(`"${name}":(\\d+)`).exec(text.subarray(0, 8192).toString())[1]);
  const strings = size - text.lastIndexOf('\n"strings":');
  const columns = 17 * count('node_count') + 8 * count('edge_count') + strings;
  const during = seen.filter((at) => at.size > 0 && at.size < size);
  const streaming = Math.max(...during.map((at) => at.rss));
  const ofFile = Math.max(...during.map((at) => at.file));
  const before = Math.max(...seen.filter((at) => at.size === 0).map((at) => at.rss));
  const mb = (bytes) => (bytes / 1e6).toFixed(1);
  console.log(`snapshot ${mb(size)} MB, columns ${mb(columns)} MB; own memory ${mb(before)} MB before the last, ${mb(streaming)} MB while it streams (columns + ${mb(streaming - columns)}, of which ${mb(ofFile)} MB are pages of the program's file), ${mb(Math.max(...seen.map((at) => at.rss)))} MB at the most`);
}
fs.rmSync(place, { recursive: true });
