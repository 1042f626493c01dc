// Programs that leak in one known way each, and their fixed twins. Each returns its operation.
const { EventEmitter } = require('node:events');
const { AsyncLocalStorage, AsyncResource } = require('node:async_hooks');
const { PassThrough } = require('node:stream');

exports.listeners = () => {
  const bus = new EventEmitter().setMaxListeners(0);
  return (i) => { bus.on('tick', () => i); };
};
exports.listenersFixed = () => {
  const bus = new EventEmitter().setMaxListeners(0);
  return (i) => { const f = () => i; bus.on('tick', f); bus.off('tick', f); };
};
exports.map = () => {
  class Session { constructor(i) { this.id = i; this.name = 'session ' + i; } }
  const sessions = new Map();
  return (i) => { sessions.set(i, new Session(i)); };
};
exports.mapBounded = () => {
  class Session { constructor(i) { this.id = i; this.name = 'session ' + i; } }
  const sessions = new Map();
  return (i) => { sessions.set(i, new Session(i)); if (sessions.size > 300) sessions.delete(sessions.keys().next().value); };
};
exports.mapFills = () => {
  // 600 keys of 1,000 operations: a cache that is full in the second window.
  const cache = new Map();
  return (i) => { const key = i % 600; if (!cache.has(key)) cache.set(key, { key, text: 'v'.repeat(10) + key }); };
};
exports.array = () => {
  const log = [];
  return (i) => { log.push({ at: i, message: 'm' + i }); };
};
exports.global = () => {
  globalThis.history = [];
  return (i) => { globalThis.history.push({ visited: i }); };
};
exports.timers = () => (i) => { setInterval(() => i, 1e8).unref(); };
exports.timersFixed = () => (i) => { clearInterval(setInterval(() => i, 1e8)); };
exports.closures = () => {
  const handlers = [];
  return (i) => { const big = new Array(50).fill(i); handlers.push(() => big.length); };
};
exports.promises = () => {
  const waiting = new Set();
  return (i) => { const p = new Promise(() => {}); p.tag = i; waiting.add(p); };
};
exports.linkedList = () => {
  class Entry { constructor(i, next) { this.i = i; this.next = next; } }
  let head = null;
  return (i) => { head = new Entry(i, head); };
};
exports.queue = () => {
  class Job { constructor(i) { this.i = i; this.next = null; } }
  const queue = { first: new Job(-1), last: null };
  queue.last = queue.first;
  return (i) => { queue.last.next = new Job(i); queue.last = queue.last.next; };
};
exports.cacheAndIndex = () => {
  class Order { constructor(i) { this.i = i; this.lines = [i, 'line ' + i]; } }
  const byId = new Map();
  const recent = [];
  return (i) => { const order = new Order(i); byId.set(i, order); recent.push(order); };
};
exports.classStatic = () => {
  class Registry { static all = []; constructor(i) { this.i = i; Registry.all.push(this); } }
  return (i) => { new Registry(i); };
};
exports.buffers = () => {
  const chunks = [];
  return (i) => { chunks.push(Buffer.alloc(20_000, i)); };
};
exports.weakMapKeys = () => {
  const meta = new WeakMap();
  const keys = new Set();
  return (i) => { const key = { i }; keys.add(key); meta.set(key, { text: 'about ' + i, list: [i] }); };
};
exports.finalizerCycle = () => {
  class Frame { constructor(i) { this.i = i; this.cells = [i, 'cell ' + i]; } }
  const collected = new FinalizationRegistry(({ handle }) => handle);
  return (i) => { const frame = new Frame(i); const held = { frame, handle: i }; frame.held = held; collected.register(frame, held); };
};
exports.finalizerFixed = () => {
  class Frame { constructor(i) { this.i = i; this.cells = [i, 'cell ' + i]; } }
  const collected = new FinalizationRegistry((handle) => handle);
  return (i) => { collected.register(new Frame(i), i); };
};
exports.streams = () => {
  const open = new Set();
  return () => { open.add(new PassThrough()); };
};
exports.streamsFixed = () => (i) => new Promise((resolve) => { const s = new PassThrough(); s.resume(); s.on('close', resolve); s.end('x' + i); });
exports.abort = () => {
  const { signal } = new AbortController();
  require('node:events').setMaxListeners(0, signal);
  return (i) => { signal.addEventListener('abort', () => i); };
};
exports.storage = () => {
  const storage = new AsyncLocalStorage();
  const kept = [];
  return (i) => { storage.run({ request: i, text: 'r' + i }, () => { kept.push(storage.getStore()); }); };
};
exports.bound = () => {
  const storage = new AsyncLocalStorage();
  const flushes = [];
  return (i) => { storage.run({ request: i }, () => { flushes.push(AsyncResource.bind(() => i)); }); };
};
exports.reloaded = () => {
  const file = require('node:path').join(__dirname, 'page.cjs');
  const pages = new Map();
  return (i) => { delete require.cache[file]; pages.set(i, new (require(file).Page)(i)); module.children.length = 0; };
};
exports.spread = () => {
  // Forty lists gain a fortieth each: none of them would be told by itself.
  class Visit { constructor(i) { this.i = i; } }
  const rooms = new Map(Array.from({ length: 40 }, (_, room) => [room, { visits: [] }]));
  return (i) => { rooms.get(i % 40).visits.push(new Visit(i)); };
};
exports.topics = () => {
  const topics = new Map();
  return (i) => { const t = i % 8; if (!topics.has(t)) topics.set(t, []); topics.get(t).push(() => i); };
};
exports.requeued = () => {
  class Job { constructor(body) { this.body = body; } }
  const jobs = [];
  return (i) => { jobs.push(new Job({ about: i })); for (let k = 0; k < jobs.length; k++) jobs[k] = new Job(jobs[k].body); };
};
exports.rung = () => {
  const timers = new Map();
  return (i) => new Promise((done) => { timers.set(i, setTimeout(() => done(i), 0)); });
};
exports.rope = () => {
  const protocol = { text: '' };
  return (i) => { protocol.text += 'line ' + i + ' of a protocol that nobody reads\n'; };
};
exports.dictionary = () => {
  const seen = Object.create(null);
  return (i) => { seen['key' + i] = { i }; };
};
exports.strings = () => {
  const ids = new Set();
  return (i) => { ids.add('request ' + i); };
};
exports.replaced = () => {
  let all = [];
  return (i) => { all = [...all, { i }]; };
};
exports.third = () => {
  const some = [];
  return (i) => { if (i % 3 === 0) some.push({ i, list: [i] }); };
};
exports.wasm = () => {
  const memories = [];
  return () => { memories.push(new WebAssembly.Memory({ initial: 1 })); };
};
exports.quiet = () => {
  const text = (i) => JSON.stringify({ i, list: [i, 'x' + i] });
  return (i) => text(i).length;
};
exports.joinedKeys = () => {
  const limits = new Map();
  const keyOf = (i) => ['a', 'b', 'c', 'd'].reduce((key, part) => `${key}-${part}-${i}`, 'visitor');
  return (i) => { limits.set(keyOf(i), { hits: i, until: new Date() }); };
};
exports.compiled = () => {
  const templates = {};
  return (i) => { templates[`letter-${i}`] = () => i; };
};
exports.exported = () => (i) => { require('./shelf.cjs').kept.push({ at: 'shelf ' + i }); };
exports.columns = () => {
  // A table as caches have it: a Map from key to row, and a row of values beside it.
  const table = new (class Table { #rows = new Map(); #values = []; set(key, value) { this.#rows.set(key, this.#values.push(value)); } })();
  return (i) => { table.set('row ' + i, { i, at: new Date() }); };
};
exports.hungUp = () => {
  const net = require('node:net');
  const sockets = new Map();
  class WebSocket { constructor(socket) { this._socket = socket; } }
  return (i) => { const socket = new net.Socket(); socket.destroy(); sockets.set(i, new WebSocket(socket)); };
};
exports.composite = () => {
  const closing = new AbortController();
  return (i) => { AbortSignal.any([closing.signal, new AbortController().signal]).addEventListener('abort', () => i); };
};
exports.heldByListener = () => {
  const under = new Set();
  const bus = new (require('node:events'))();
  bus.on('request', function handle(kept, i) { kept.add({ i, at: new Date() }); }.bind(null, under));
  return (i) => { bus.emit('request', i); };
};
exports.ports = () => (i) => {
  const { port1, port2 } = new MessageChannel();
  port1.on('message', function answered() { return i; });
  port2.unref();
};
exports.bothWays = () => {
  class Task { constructor(i) { this.i = i; this.before = null; this.after = null; } }
  const tasks = new (class Tasks {
    add(task) { if (this.last) { task.before = this.last; this.last.after = task; } else this.first = task; this.last = task; }
  })();
  return (i) => { tasks.add(new Task(i)); };
};
exports.subclass = () => {
  class Turn { constructor(i) { this.i = i; } }
  class Turns extends Array {}
  const turns = new Turns();
  return (i) => { turns.push(new Turn(i)); };
};
exports.bigints = () => {
  const seen = new Set();
  return (i) => { seen.add((1n << 70n) + BigInt(i)); };
};
exports.imported = () => (i) => import(`./imported.mjs?version=${i}`);
exports.tree = () => {
  class Branch { constructor() { this.branches = new Map(); this.ends = false; } }
  const root = new Branch();
  return (i) => {
    let branch = root;
    // The last digits first: the branches of old words go on growing.
    for (const digit of String(1e5 + i).split('').reverse()) {
      if (!branch.branches.has(digit)) branch.branches.set(digit, new Branch());
      branch = branch.branches.get(digit);
    }
    branch.ends = true;
  };
};
exports.replacedListeners = () => {
  let subscribers = [];
  return (i) => { subscribers = [...subscribers, () => i]; };
};
exports.functionChain = () => {
  const page = { draw: () => '' };
  return (i) => { const before = page.draw; page.draw = () => before() + i; };
};
exports.searchTree = () => {
  class Weight { constructor(key) { this.key = key; this.lighter = null; this.heavier = null; } }
  const weights = new (class Weights { constructor() { this.root = null; } })();
  return (i) => {
    // Scattered, so that new ones hang everywhere.
    const added = new Weight((i * 7919) % 100_003);
    if (weights.root === null) { weights.root = added; return; }
    for (let at = weights.root; ;) {
      const side = added.key < at.key ? 'lighter' : 'heavier';
      if (at[side] === null) { at[side] = added; return; }
      at = at[side];
    }
  };
};
exports.mixins = () => {
  const plans = new Map();
  class Plan { price() { return 7; } }
  const discounted = (name) => class Discounted extends Plan { price() { return super.price() - name.length; } };
  return (i) => { plans.set(i, discounted('plan ' + i)); };
};
exports.searchTreeVariable = () => {
  class Weight { constructor(key) { this.key = key; this.lighter = null; this.heavier = null; } }
  let root = null;
  return (i) => {
    const added = new Weight((i * 7919) % 100_003);
    if (root === null) { root = added; return; }
    for (let at = root; ;) {
      const side = added.key < at.key ? 'lighter' : 'heavier';
      if (at[side] === null) { at[side] = added; return; }
      at = at[side];
    }
  };
};
exports.answered = () => {
  const { ServerResponse } = require('node:http');
  const kept = [];
  // Sent long ago, and so without a socket.
  return () => { kept.push(new ServerResponse({ method: 'GET', httpVersionMajor: 1, httpVersionMinor: 1 })); };
};
