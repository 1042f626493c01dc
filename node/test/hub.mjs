// A hub for tests: listens on a private socket, writes carriers, speaks frames.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync, mkdirSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const SOURCE = readFileSync(join(here, '../probe.cjs'), 'utf8');
/** The Node under test: another one than runs the tests where the variable says so. */
const NODE = process.env.PLIMSOLL_TEST_NODE || process.execPath;
export const version = execFileSync(NODE, ['--version'], { encoding: 'utf8' }).slice(1).split('.').map(Number);

const NULL_CONFIG = 'const CONFIG = null;';

/** A message as a frame. */
export function frame(message) {
  const body = Buffer.from(JSON.stringify(message));
  const head = Buffer.alloc(5);
  head.writeUInt32LE(body.length, 0);
  return Buffer.concat([head, body]);
}

/** One connected probe. */
export class Peer {
  constructor(socket) {
    this.socket = socket;
    this.inbox = Buffer.alloc(0);
    this.messages = [];
    this.waiting = [];
    this.closed = false;
    this.ids = 0;
    socket.on('data', (bytes) => this.receive(bytes));
    socket.on('error', () => {});
    socket.on('close', () => {
      this.closed = true;
      this.wake();
    });
  }

  receive(bytes) {
    this.inbox = Buffer.concat([this.inbox, bytes]);
    while (this.inbox.length >= 5) {
      const length = this.inbox.readUInt32LE(0);
      if (this.inbox.length < 5 + length) break;
      this.messages.push(JSON.parse(this.inbox.toString('utf8', 5, 5 + length)));
      this.inbox = this.inbox.subarray(5 + length);
    }
    this.wake();
  }

  wake() {
    for (const waiter of this.waiting.splice(0)) waiter();
  }

  send(message) {
    this.socket.write(frame(message));
  }

  /** The next message that `wanted` accepts; `undefined` once the connection closed. */
  async next(wanted = () => true) {
    for (;;) {
      const at = this.messages.findIndex(wanted);
      if (at >= 0) return this.messages.splice(at, 1)[0];
      if (this.closed) return undefined;
      await new Promise((resolve) => this.waiting.push(resolve));
    }
  }

  async call(op, args = {}, deadline_ms = 60000) {
    const id = ++this.ids;
    this.send({ type: 'cmd', id, op, args, deadline_ms });
    return this.next((m) => m.type === 'reply' && m.id === id);
  }

  async ended() {
    while (!this.closed) await new Promise((resolve) => this.waiting.push(resolve));
  }
}

export class Hub {
  constructor(folder = 'hub') {
    this.root = mkdtempSync(join(tmpdir(), 'plimsoll-probe-'));
    this.dir = join(this.root, folder);
    mkdirSync(this.dir);
    this.socket = join(this.dir, 's');
    this.carrier = join(this.dir, 'probe.cjs');
    this.token = 'token-of-a-test';
    this.peers = [];
    this.waiting = [];
    this.children = [];
    const config = JSON.stringify({ socket: this.socket, token: this.token });
    writeFileSync(this.carrier, SOURCE.replace(NULL_CONFIG, () => `const CONFIG = ${config};`), { mode: 0o600 });
    this.server = net.createServer((socket) => {
      this.peers.push(new Peer(socket));
      for (const waiter of this.waiting.splice(0)) waiter();
    });
  }

  static async start(folder) {
    const hub = new Hub(folder);
    hub.server.listen(hub.socket);
    await once(hub.server, 'listening');
    return hub;
  }

  get nodeOptions() {
    return `--require "${this.carrier.replace(/["\\]/g, '\\$&')}"`;
  }

  /** A process with the probe in it. */
  spawn(args, { options = this.nodeOptions, stdio = 'pipe', env = {}, execPath = NODE } = {}) {
    const environment = { ...process.env, NODE_OPTIONS: options, ...env };
    delete environment.NODE_TEST_CONTEXT;
    const child = spawn(execPath, args, { stdio, env: environment });
    child.output = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr']) {
      if (child[name]) child[name].setEncoding('utf8').on('data', (text) => (child.output[name] += text));
    }
    child.done = once(child, 'close').then(([code, signal]) => ({ code, signal, ...child.output }));
    this.children.push(child);
    return child;
  }

  /** The next probe that connected. */
  async peer() {
    while (this.peers.length === 0) await new Promise((resolve) => this.waiting.push(resolve));
    return this.peers.shift();
  }

  /** The next probe, with its hello. */
  async greeted() {
    const peer = await this.peer();
    peer.hello = await peer.next();
    return peer;
  }

  async stop() {
    for (const child of this.children) {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
      await child.done;
    }
    for (const peer of this.peers) peer.socket.destroy();
    this.server.close();
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** Runs `f` with a hub, and ends whatever it started. */
export async function withHub(f, folder) {
  const hub = await Hub.start(folder);
  try {
    await f(hub);
  } finally {
    await hub.stop();
  }
}
