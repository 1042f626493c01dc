// Bytes per operation of a Node HTTP service, measured without Plimsoll.
//
//   node examples/truth.mjs SERVER.js --path /login [--fixed] [--operations 5000] [--warm-up 5000]
//        [--concurrency 10] [--method GET] [--port-variable PORT] [--json] [-- ARGUMENTS OF THE SERVER]
//
// It starts the server with an inspector on a private port, drives keep-alive requests, and
// reads heap used + external after forced collections: once after the warm-up, once after
// `operations` more (1x), once after ten times as many more (10x). The two figures of bytes
// per operation must agree; where they do not, the growth is not linear. `{{seq}}` in the path
// becomes the number of the request.
//
// Nothing here is shared with the product: another client, another way to collect, no statistics.
// Text goes to stderr, one JSON object to stdout. Standard library only, Node 20 or newer.

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import http from 'node:http';
import net from 'node:net';
import { parseArgs } from 'node:util';

const SETTLED_BYTES = 512; // Readings that differ by less are the same reading.
const MAX_COLLECTIONS = 24;

const usage = 'usage: node truth.mjs SERVER.js --path PATH [--fixed] [--operations N] [-- ARGUMENTS]';

function parseCommandLine(argv) {
  const split = argv.indexOf('--');
  const own = split < 0 ? argv : argv.slice(0, split);
  const { values, positionals } = parseArgs({
    args: own,
    allowPositionals: true,
    options: {
      path: { type: 'string', default: '/' },
      method: { type: 'string', default: 'GET' },
      operations: { type: 'string', default: '5000' },
      'warm-up': { type: 'string', default: '5000' },
      concurrency: { type: 'string', default: '10' },
      'port-variable': { type: 'string', default: 'PORT' },
      fixed: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    },
  });
  if (positionals.length !== 1) throw new Error(usage);
  const count = (name) => {
    const value = Number(values[name]);
    if (!Number.isSafeInteger(value) || value < 1) throw new Error(`--${name}: '${values[name]}' is not a count`);
    return value;
  };
  return {
    server: positionals[0],
    serverArguments: [...(values.fixed ? ['--fixed'] : []), ...(split < 0 ? [] : argv.slice(split + 1))],
    path: values.path,
    method: values.method,
    operations: count('operations'),
    warmUp: count('warm-up'),
    concurrency: count('concurrency'),
    portVariable: values['port-variable'],
    quiet: values.json,
  };
}

/** A port that was free a moment ago. */
function freePort() {
  return new Promise((resolve, reject) => {
    const probe = net.createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

/** Starts the server; resolves with it and the inspector's URL. */
function startServer(options, port) {
  const child = spawn(process.execPath, ['--inspect=127.0.0.1:0', options.server, ...options.serverArguments], {
    env: { ...process.env, [options.portVariable]: String(port) },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  return new Promise((resolve, reject) => {
    let text = '';
    child.once('error', reject);
    child.once('exit', (status, signal) => {
      reject(new Error(`the server ended (${signal ?? `status ${status}`}): ${text.slice(-500)}`));
    });
    child.stderr.setEncoding('utf8');
    child.stderr.on('data', (chunk) => {
      if (text.length < 65536) text += chunk;
      const found = /ws:\/\/\S+/.exec(text);
      if (found) resolve({ child, inspector: found[0] });
    });
  });
}

/**
 * A client of the inspector: JSON commands over a WebSocket (RFC 6455), client frames masked,
 * server frames plain. Node 20 has no stable WebSocket of its own.
 */
class Inspector {
  #socket;
  #input = Buffer.alloc(0);
  #message = [];
  #waiting = new Map();
  #lastId = 0;

  static connect(url) {
    const { hostname, port, pathname } = new URL(url);
    const request = http.request({
      hostname,
      port,
      path: pathname,
      headers: {
        connection: 'Upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': randomBytes(16).toString('base64'),
      },
    });
    return new Promise((resolve, reject) => {
      request.once('error', reject);
      request.once('response', (response) => reject(new Error(`the inspector answered ${response.statusCode}`)));
      request.once('upgrade', (_response, socket, head) => {
        const inspector = new Inspector();
        inspector.#socket = socket;
        socket.on('data', (chunk) => inspector.#receive(chunk));
        socket.on('error', () => {});
        socket.once('close', () => inspector.#fail(new Error('the inspector closed the connection')));
        if (head.length > 0) inspector.#receive(head);
        resolve(inspector);
      });
      request.end();
    });
  }

  command(method, params = {}) {
    const id = ++this.#lastId;
    const answer = new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    this.#send(1, Buffer.from(JSON.stringify({ id, method, params })));
    return answer;
  }

  async evaluate(expression) {
    const { result, exceptionDetails } = await this.command('Runtime.evaluate', { expression, returnByValue: true });
    if (exceptionDetails) throw new Error(`the server could not evaluate ${expression}`);
    return result.value;
  }

  close() {
    this.#socket.destroy();
  }

  #send(opcode, payload) {
    const length = payload.length;
    const head = length < 126 ? Buffer.alloc(2) : length < 65536 ? Buffer.alloc(4) : Buffer.alloc(10);
    head[0] = 0x80 | opcode;
    if (length < 126) {
      head[1] = 0x80 | length;
    } else if (length < 65536) {
      head[1] = 0x80 | 126;
      head.writeUInt16BE(length, 2);
    } else {
      head[1] = 0x80 | 127;
      head.writeBigUInt64BE(BigInt(length), 2);
    }
    const mask = randomBytes(4);
    const masked = payload.map((byte, position) => byte ^ mask[position & 3]);
    this.#socket.write(Buffer.concat([head, mask, masked]));
  }

  #receive(chunk) {
    this.#input = Buffer.concat([this.#input, chunk]);
    for (;;) {
      const input = this.#input;
      if (input.length < 2) return;
      let start = 2;
      let length = input[1] & 0x7f;
      if (length === 126) {
        if (input.length < 4) return;
        length = input.readUInt16BE(2);
        start = 4;
      } else if (length === 127) {
        if (input.length < 10) return;
        length = Number(input.readBigUInt64BE(2));
        start = 10;
      }
      if (input.length < start + length) return;
      const final = (input[0] & 0x80) !== 0;
      const opcode = input[0] & 0x0f;
      const payload = Buffer.from(input.subarray(start, start + length));
      this.#input = input.subarray(start + length);
      if (opcode === 9) this.#send(10, payload);
      if (opcode > 2) continue; // Ping, pong and close carry no answer.
      this.#message.push(payload);
      if (!final) continue;
      const message = JSON.parse(Buffer.concat(this.#message).toString('utf8'));
      this.#message = [];
      const waiting = this.#waiting.get(message.id);
      if (!waiting) continue;
      this.#waiting.delete(message.id);
      if (message.error) waiting.reject(new Error(message.error.message));
      else waiting.resolve(message.result);
    }
  }

  #fail(error) {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

/** One request on a connection of `agent`; resolves with the status once the body has ended. */
function sendRequest(agent, port, method, path) {
  return new Promise((resolve, reject) => {
    const request = http.request({ agent, host: '127.0.0.1', port, method, path }, (response) => {
      response.resume();
      response.once('end', () => resolve(response.statusCode));
      response.once('error', reject);
    });
    request.once('error', reject);
    request.end();
  });
}

/** Exactly `count` requests by `concurrency` clients, each of which waits for its answer before it asks again. */
async function drive(options, port, count, numbers) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: options.concurrency });
  let left = count;
  const client = async () => {
    while (left > 0) {
      left -= 1;
      numbers.next += 1;
      const path = options.path.replaceAll('{{seq}}', String(numbers.next));
      const status = await sendRequest(agent, port, options.method, path);
      if (status < 200 || status > 399) throw new Error(`${options.method} ${path} answered ${status}`);
    }
  };
  try {
    await Promise.all(Array.from({ length: options.concurrency }, client));
  } finally {
    // Every reading is taken with no connection open, so that connections never look like growth.
    agent.destroy();
  }
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/**
 * Collects until the lowest reading has stood for four collections; resolves with that reading, in bytes.
 *
 * The lowest, because V8 frees code it has not used lately and compiles it again for the next
 * reading: after a few thousand requests the same heap reads up to 120 kB higher every other time.
 */
async function readLiveBytes(inspector) {
  await pause(500); // The server has seen the connections close by then, and their timers are gone.
  let lowest = { live_bytes: Infinity };
  let collection = 0;
  for (let unbeaten = 0; unbeaten < 4 && collection < MAX_COLLECTIONS; unbeaten += 1) {
    collection += 1;
    await inspector.command('HeapProfiler.collectGarbage');
    await pause(20);
    const { heapUsed, external } = await inspector.evaluate(
      '(({ heapUsed, external }) => ({ heapUsed, external }))(process.memoryUsage())',
    );
    const live = heapUsed + external;
    if (live < lowest.live_bytes - SETTLED_BYTES) unbeaten = -1;
    if (live < lowest.live_bytes) {
      lowest = { live_bytes: live, heap_used_bytes: heapUsed, external_bytes: external };
    }
  }
  return { ...lowest, collections: collection };
}

async function waitUntilReady(options, port, child) {
  const deadline = Date.now() + 120_000;
  while (Date.now() < deadline) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error('the server ended before it was ready');
    const answered = await new Promise((resolve) => {
      const socket = net.connect(port, '127.0.0.1');
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
      socket.once('close', () => resolve(false));
    }).catch(() => false);
    if (answered) return;
    await pause(50);
  }
  throw new Error(`nothing listens on port ${port} after 120 s; is the port read from ${options.portVariable}?`);
}

async function stop(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const killer = setTimeout(() => child.kill('SIGKILL'), 5000);
  await ended;
  clearTimeout(killer);
}

async function measure(options, say) {
  const port = await freePort();
  const { child, inspector: url } = await startServer(options, port);
  process.once('exit', () => child.kill('SIGKILL'));
  let inspector;
  try {
    inspector = await Inspector.connect(url);
    await waitUntilReady(options, port, child);
    const numbers = { next: 0 };
    const readings = [];
    for (const count of [options.warmUp, options.operations, options.operations * 10]) {
      await drive(options, port, count, numbers);
      const reading = { operations: numbers.next, ...(await readLiveBytes(inspector)) };
      readings.push(reading);
      say(`after ${reading.operations} requests: ${reading.live_bytes} live bytes`
        + ` (heap used ${reading.heap_used_bytes}, external ${reading.external_bytes}, ${reading.collections} collections)`);
    }
    const rate = (from, to) => (to.live_bytes - from.live_bytes) / (to.operations - from.operations);
    const [settled, once, tenfold] = readings;
    return {
      server: options.server,
      arguments: options.serverArguments,
      path: options.path,
      node: await inspector.evaluate('process.version'),
      warm_up_operations: options.warmUp,
      readings,
      bytes_per_op_1x: rate(settled, once),
      bytes_per_op_10x: rate(once, tenfold),
      bytes_per_op: rate(settled, tenfold),
    };
  } finally {
    inspector?.close();
    await stop(child);
  }
}

async function main() {
  const options = parseCommandLine(process.argv.slice(2));
  const say = (line) => {
    if (!options.quiet) console.error(line);
  };
  const truth = await measure(options, say);
  say(`1x:  ${truth.bytes_per_op_1x.toFixed(1)} bytes per operation over ${options.operations} requests`);
  say(`10x: ${truth.bytes_per_op_10x.toFixed(1)} bytes per operation over ${options.operations * 10} requests`);
  say(`all: ${truth.bytes_per_op.toFixed(1)} bytes per operation`);
  console.log(JSON.stringify(truth));
}

main().catch((error) => {
  console.error(`truth: ${error.message}`);
  process.exitCode = 1;
});
