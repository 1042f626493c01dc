// Collects the snapshots that parity is checked on: several versions of Node, Deno, Chromium.
// Usage: node collect.mjs DIR [PART OF A NAME]. Needs `chromium` in PATH and this folder's npm packages.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import WebSocket from 'ws';

const here = import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname);
const only = process.argv[3] ?? '';
const out = path.resolve(process.argv[2] ?? '');
if (!process.argv[2]) throw new Error('usage: node collect.mjs DIR');
fs.mkdirSync(out, { recursive: true });

// What a heap may hold that the rules treat apart: weak maps with shared keys, joined strings, shapes, cycles.
const program = `
  class Kept { constructor(i) { this.i = i; this.self = this; } }
  const weak = new WeakMap(), keys = [], values = new Set();
  for (let i = 0; i < 200; i++) { const key = new Kept(i); keys.push(key); weak.set(key, { i, key, list: [i, 'v' + i] }); values.add({ a: i, b: [i] }); }
  let joined = ''; for (let i = 0; i < 300; i++) joined += 'part ' + i + ' \\u00e9\\ud83d\\ude00 "quoted" ';
  const table = Object.fromEntries(keys.map((key, i) => ['key,' + i, key]));
  const closures = keys.map((key) => () => [key, joined]);
  const refs = keys.slice(0, 20).map((key) => new WeakRef({ key }));
  const typed = [new Float64Array(1000), new ArrayBuffer(5000), new Uint8Array(10)];
  const timers = [setTimeout(() => joined, 1e6), setInterval(() => table, 1e6)];
  globalThis.kept = { weak, keys, values, joined, table, closures, refs, typed, timers, promise: new Promise(() => {}) };
`;

/** Talks to an inspector and writes one snapshot. */
async function take(url, file, page) {
  const socket = new WebSocket(url, { perMessageDeflate: false, maxPayload: 1 << 30 });
  await once(socket, 'open');
  const stream = fs.createWriteStream(file);
  const waiting = new Map();
  let next = 0;
  socket.on('message', (data) => {
    const message = JSON.parse(data);
    if (message.method === 'HeapProfiler.addHeapSnapshotChunk') stream.write(message.params.chunk);
    waiting.get(message.id ?? message.method)?.(message);
  });
  const send = (method, params = {}) => new Promise((resolve, reject) => {
    const id = ++next;
    waiting.set(id, (message) => message.error ? reject(new Error(message.error.message)) : resolve(message.result));
    socket.send(JSON.stringify({ id, method, params }));
  });
  if (page) {
    const loaded = new Promise((resolve) => waiting.set('Page.loadEventFired', resolve));
    for (const domain of ['Runtime', 'DOM', 'Page']) await send(`${domain}.enable`);
    await send('Page.navigate', { url: page });
    await loaded;
  }
  await send('HeapProfiler.takeHeapSnapshot', { reportProgress: false });
  stream.end();
  await once(stream, 'finish');
  socket.close();
}

/** The first line of a stream that matches. */
async function line(stream, pattern) {
  for await (const text of readline.createInterface({ input: stream })) {
    const match = pattern.exec(text);
    if (match) return match;
  }
  throw new Error(`the process ended without ${pattern}`);
}

// Nothing of the computer it was made on: a bare environment, and paths replaced in what was written.
const place = { cwd: '/', env: { PATH: process.env.PATH, HOME: '/nonexistent' } };
const root = path.resolve(here, '../..');
const done = (file, own = out) => {
  const text = fs.readFileSync(file, 'utf8');
  fs.writeFileSync(file, text.replaceAll(root, '/plimsoll').replaceAll(own, '/snapshots'));
  console.log(`${file} ${text.length}`);
};

// Node: from inside.
const nodes = { 20: process.execPath };
for (const version of [22, 24, 26]) nodes[version] = path.join(here, `node_modules/node${version}/bin/node`);
for (const [version, binary] of Object.entries(nodes)) {
  for (const [name, code] of [['idle', ''], ['kept', program]]) {
    if (!`node${version}-${name}`.includes(only)) continue;
    const file = path.join(out, `node${version}-${name}.heapsnapshot`);
    const script = `${code}\nrequire('node:v8').writeHeapSnapshot(${JSON.stringify(file)}); process.exit(0);`;
    const { status, stderr } = spawnSync(binary, ['-e', script], { encoding: 'utf8', ...place });
    if (status !== 0) throw new Error(`${binary}: ${stderr}`);
    done(file);
  }
}

// With V8's internals exposed there are no user roots.
if ('node24-internals'.includes(only)) {
  const file = path.join(out, 'node24-internals.heapsnapshot');
  const script = `${program}\nrequire('node:v8').writeHeapSnapshot(${JSON.stringify(file)}, { exposeInternals: true, exposeNumericValues: true }); process.exit(0);`;
  spawnSync(nodes[24], ['-e', script], place);
  done(file);
}

// Deno: by its inspector.
if ('deno-kept'.includes(only)) {
  const deno = spawn(path.join(here, 'node_modules/.bin/deno'), ['run', '--inspect=127.0.0.1:0', '-'], { stdio: ['pipe', 'ignore', 'pipe'], ...place, env: { ...place.env, HOME: out } });
  deno.stdin.end(`${program}\nsetInterval(() => {}, 1000);`);
  const [, url] = await line(deno.stderr, /(ws:\/\/\S+)/);
  const file = path.join(out, 'deno-kept.heapsnapshot');
  await take(url, file);
  deno.kill();
  done(file);
}

// Chromium: a page each, with attached and detached documents' parts.
const pages = {
  blank: '<title>blank</title>',
  detached: `<div id=a><p class=x>text<b>bold</b></div><script>${program}
    const holder = []; for (let i = 0; i < 50; i++) { const e = document.createElement('div'); e.innerHTML = '<span id=s' + i + '>x</span>'; holder.push(e.firstChild); }
    const old = document.getElementById('a'); old.remove(); window.holder = holder; window.old = old;
    document.body.addEventListener('click', () => holder.length);
    // What only a dead function reads stays captured, because a living one shares its variables.
    const make = (i) => { const unread = new Array(2000).fill({ i }), read = i + 0.5; const dead = () => unread.length; return () => read; };
    window.readers = [1, 2, 3].map(make);</script>`,
  frames: `<iframe srcdoc="<p>in a frame<script>window.top.inner = () => document.body</script>"></iframe><canvas></canvas><input><script>${program}
    const list = new DocumentFragment(); for (let i = 0; i < 30; i++) list.append(document.createElement('li')); window.list = list;
    console.log(list); customElements.define('x-a', class extends HTMLElement {}); document.body.append(document.createElement('x-a'));</script>`,
};
for (const [name, html] of Object.entries(pages)) {
  if (!`chromium-${name}`.includes(only)) continue;
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'plimsoll-chromium-'));
  const page = path.join(profile, 'page.html');
  fs.writeFileSync(page, `<!doctype html>${html}`);
  const browser = spawn('chromium', ['--headless', '--no-sandbox', '--disable-gpu', '--remote-debugging-port=0', `--user-data-dir=${profile}`, 'about:blank'], { stdio: ['ignore', 'ignore', 'pipe'], env: { ...place.env, HOME: profile } });
  const [, origin] = await line(browser.stderr, /ws:\/\/([^/]+)\//);
  const targets = await (await fetch(`http://${origin}/json`)).json();
  const file = path.join(out, `chromium-${name}.heapsnapshot`);
  await take(targets.find((target) => target.type === 'page').webSocketDebuggerUrl, file, `file://${page}`);
  browser.kill();
  await once(browser, 'exit');
  done(file, profile);
  fs.rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
}
