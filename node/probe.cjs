'use strict';
const CONFIG = null; // The hub puts the run's configuration in place of `null` when it writes the carrier.

/*
 * The Node probe of Plimsoll: observes the isolate it is loaded into (main thread or worker) and answers the hub over a
 * private Unix socket. Loaded by `--require` before any code of the subject, or evaluated in a running process by its
 * inspector, so it is written to be harmless first:
 *
 * - no dependency, worker, child process, global, process listener or patched prototype; every entry is in try/catch;
 * - the socket and all timers are unref'ed: the probe never keeps a process alive, and says nothing on stdout or stderr;
 * - only `s` and `gc` frames may be dropped, when the hub does not keep up, and they are counted;
 * - if the hub goes away the probe lets go of everything, and the subject runs on as if it had never been there.
 *
 * Syntax is kept to what Node 10 parses: a preload that does not parse keeps its process from starting.
 * What comes late is feature-tested. Frames: u32 LE body length, u8 type (0 JSON), body. The protocol is described in
 * the project's architecture page; `testdata/probe` holds transcripts that every probe must pass.
 */

const PROTOCOL = 1;
/** Commands are small; a larger frame is not from our hub. */
const INBOX_BYTES = 16 * 1024;
/** Frames of a sampled stack at most, and stacks that are told. */
const STACK_FRAMES = 12;
const MOST_STACKS = 200;
/** Unsent bytes above which samples are dropped instead of queued. */
const BACKLOG_BYTES = 64 * 1024;
const MAX_QUEUED_COMMANDS = 16;
const MAX_PASSES = 6;
/**
 * A reading this far above the last one is looked at again after a while: a function that is being compiled on another
 * thread holds some 240 kB until it is done, and two readings in between agree on it.
 */
const DOUBTFUL_BYTES = 64 * 1024;
const DOUBT_MS = 30;
const MAX_ROWS = 200;
/** Tries to get hold of a collection. */
const TAKES = 100;
/** A collector event costs the isolate up to 0.1 ms: above this rate they are not worth it. */
const MAX_GC_PER_SECOND = 50;
const ARRAY_BUFFERS_EVERY_US = 1e6;

// Taken before the subject's code can replace them (fake timers do).
const { setInterval, clearInterval, setImmediate, setTimeout, clearTimeout } = globalThis;
const hrtime = process.hrtime;

/** Microseconds on CLOCK_MONOTONIC, which the hub shares. */
function now() {
  const t = hrtime();
  return t[0] * 1e6 + Math.floor(t[1] / 1e3);
}

/** Deno and Bun answer to Node's names; only their own globals tell them apart. */
const RUNTIME = globalThis.Deno ? 'deno' : globalThis.Bun ? 'bun' : 'node';

/** Runs `f`, answering `fallback` where it throws: features come and go between Node versions. */
function attempt(f, fallback) {
  try {
    return f();
  } catch (_) {
    return fallback;
  }
}

/** JSON in ASCII, so that a frame is a one-byte string: written without a Buffer, its length known without encoding it. */
function toAscii(text) {
  let ascii = '';
  let from = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 128) continue;
    ascii += text.slice(from, i) + '\\u' + (code + 0x10000).toString(16).slice(1);
    from = i + 1;
  }
  return from === 0 ? text : ascii + text.slice(from);
}

function frame(json) {
  const body = toAscii(json);
  const n = body.length;
  return String.fromCharCode(n & 255, (n >> 8) & 255, (n >> 16) & 255, n >>> 24, 0) + body;
}

/* ---------------------------------------------------------------- readings */

/**
 * The collection function of this isolate, taken once. The flag is process-wide and therefore put back at once, so that
 * neither `globalThis` nor a later context of the subject gets a `gc`; where the user asked for one, that one serves.
 */
function takeGc(v8) {
  if (typeof globalThis.gc === 'function') return globalThis.gc;
  if (RUNTIME === 'bun') return () => globalThis.Bun.gc(true);
  const vm = require('vm');
  // The flag is the process's: a worker that takes its own at the same moment may lower it between our two lines.
  for (let attempt = 0; attempt < TAKES; attempt++) {
    v8.setFlagsFromString('--expose-gc');
    try {
      const gc = vm.runInNewContext('typeof gc === "function" ? gc : null');
      if (gc !== null) return gc;
    } finally {
      v8.setFlagsFromString('--no-expose-gc');
    }
  }
  return null;
}

/**
 * Reads what a collection left. Kept free of allocation up to the reading that counts: `getHeapStatistics` fills its
 * numbers before it makes its result.
 */
class Heap {
  constructor(v8) {
    this.v8 = v8;
    this.gc = undefined;
    // Used and external of the last two passes; a typed array holds doubles without boxing them.
    this.seen = new Float64Array(4);
    this.statistics = null;
  }

  /**
   * What the runtime says of its heap. Bun counts external memory as used, and answers what it does not know (limit,
   * resident size, contexts) with other figures: those are left out.
   */
  read() {
    const statistics = this.v8.getHeapStatistics();
    if (RUNTIME !== 'bun') return statistics;
    const external = statistics.external_memory;
    return {
      used_heap_size: statistics.used_heap_size - external,
      total_heap_size: statistics.total_heap_size,
      external_memory: external,
    };
  }

  /** Bytes off the heap that heap objects own. Old versions tell it only together with RSS, which is dear. */
  external(statistics) {
    const bytes = statistics.external_memory;
    return bytes === undefined ? process.memoryUsage().external : bytes;
  }

  /** Makes `collect` possible; false where this runtime gives us no collector. */
  prepare() {
    if (this.gc === undefined) this.gc = attempt(() => takeGc(this.v8), null);
    return this.gc !== null;
  }

  /** One collection and its reading; true if it agrees with the one before. */
  pass() {
    const seen = this.seen;
    seen[2] = seen[0];
    seen[3] = seen[1];
    this.gc();
    const statistics = this.read();
    seen[0] = statistics.used_heap_size;
    seen[1] = this.external(statistics);
    this.statistics = statistics;
    const live = this.live();
    return Math.abs(live - (seen[2] + seen[3])) <= Math.max(256, live * 1e-4);
  }

  /** Live bytes at the last pass. */
  live() {
    return this.seen[0] + this.seen[1];
  }

  /** Everything worth knowing after the last pass, by name. */
  values() {
    const statistics = this.statistics;
    this.statistics = null;
    const values = {
      live_bytes: this.live(),
      heap_used: this.seen[0],
      heap_total: statistics.total_heap_size,
      heap_physical: statistics.total_physical_size,
      external: this.seen[1],
    };
    const memory = RUNTIME === 'node' ? attempt(() => process.memoryUsage(), {}) : {};
    if (memory.arrayBuffers !== undefined) values.array_buffers = memory.arrayBuffers;
    if (statistics.number_of_native_contexts !== undefined) {
      values['contexts/native'] = statistics.number_of_native_contexts;
      values['contexts/detached'] = statistics.number_of_detached_contexts;
    }
    let code = 0;
    const spaces = RUNTIME === 'bun' ? [] : attempt(() => this.v8.getHeapSpaceStatistics(), []);
    for (const space of spaces) {
      if (space.space_name.indexOf('code') === 0) code += space.space_used_size;
      if (space.space_name !== 'read_only_space') values['space/' + space.space_name] = space.space_used_size;
    }
    // Compiled code comes and goes by the compiler's own clock, and with it about as much of its data in old space:
    // most of what readings of a steady server scatter by. Told apart, so that a judge can set it aside.
    if (spaces.length > 0) values.code_bytes = code;
    return values;
  }
}

/* ---------------------------------------------------------------- census */

/** Names vary with ids (`job:4711`): runs of digits become `#`, so that they stay few and say one kind. */
function kindOf(name) {
  let kind = '';
  let inDigits = false;
  for (let i = 0; i < name.length && kind.length < 80; i++) {
    const c = name.charCodeAt(i);
    const digit = c >= 48 && c <= 57;
    if (!digit) kind += name[i];
    else if (!inDigits) kind += '#';
    inDigits = digit;
  }
  return kind;
}

/** Whether reading its prototype would run code of the subject. */
const isProxy = attempt(() => require('util').types.isProxy, () => false);

/** An own data property; never runs a getter of the subject. */
function own(object, key) {
  const descriptor = Object.getOwnPropertyDescriptor(object, key);
  return descriptor === undefined ? undefined : descriptor.value;
}

function functionName(f) {
  const name = typeof f === 'function' ? own(f, 'name') : undefined;
  return typeof name === 'string' && name !== '' ? name : 'anonymous';
}

/** The class of objects with this prototype. */
function className(prototype) {
  for (let p = prototype, depth = 0; p !== null && depth < 8; p = Object.getPrototypeOf(p), depth++) {
    const constructor = own(p, 'constructor');
    if (typeof constructor === 'function') return functionName(constructor);
  }
  return 'Object';
}

class Rows {
  constructor() {
    this.counts = new Map();
  }

  add(family, kind, count) {
    const key = family + '\n' + kindOf(kind);
    this.counts.set(key, (this.counts.get(key) || 0) + count);
  }

  /** The largest counts; what is left out is summed up by family. */
  top() {
    const all = Array.from(this.counts, ([key, count]) => {
      const [family, kind] = key.split('\n');
      return { family, kind, count };
    });
    all.sort((a, b) => b.count - a.count || (a.kind < b.kind ? -1 : 1));
    const rows = all.slice(0, MAX_ROWS);
    const rest = new Map();
    for (const row of all.slice(MAX_ROWS)) rest.set(row.family, (rest.get(row.family) || 0) + row.count);
    rest.forEach((count, family) => rows.push({ family, kind: 'other', count }));
    return rows;
  }
}

function countListeners(emitters, ours, rows) {
  const classes = new Map();
  for (let i = 0; i < emitters.length; i++) {
    const emitter = emitters[i];
    if (ours.has(emitter)) continue;
    const events = own(emitter, '_events');
    if (events === null || typeof events !== 'object') continue;
    const prototype = Object.getPrototypeOf(emitter);
    let byEvent = classes.get(prototype);
    if (byEvent === undefined) classes.set(prototype, (byEvent = new Map()));
    for (const event of Reflect.ownKeys(events)) {
      const listeners = own(events, event);
      const count = typeof listeners === 'function' ? 1 : Array.isArray(listeners) ? listeners.length : 0;
      if (count > 0) byEvent.set(event, (byEvent.get(event) || 0) + count);
    }
  }
  classes.forEach((byEvent, prototype) => {
    const name = className(prototype);
    byEvent.forEach((count, event) => rows.add('listeners', name + ':' + String(event), count));
  });
}

/** Live objects by class: the answer where a snapshot would take too much memory. */
function countClasses(objects, rows) {
  const names = new Map();
  for (let i = 0; i < objects.length; i++) {
    // A proxy of the subject may throw, or run its code: it is passed over.
    if (isProxy(objects[i])) continue;
    const prototype = Object.getPrototypeOf(objects[i]);
    let entry = names.get(prototype);
    if (entry === undefined) names.set(prototype, (entry = { name: className(prototype), count: 0 }));
    entry.count++;
  }
  names.forEach(({ name, count }) => rows.add('objects', name, count));
}

/**
 * The same from Bun's own snapshot, which is made in its heap and numbers objects anew each time: of it only the classes
 * are kept. Its records are number, bytes, class and flags; the lowest flag marks what no program can hold.
 */
function classesOfBun() {
  const { nodes, nodeClassNames } = globalThis.Bun.generateHeapSnapshot();
  const found = nodeClassNames.map((kind) => ({ family: 'objects', kind: kindOf(kind), count: 0, bytes: 0 }));
  for (let i = 0; i + 3 < nodes.length; i += 4) {
    const row = found[nodes[i + 2]];
    if (row === undefined || (nodes[i + 3] & 1) === 1) continue;
    row.count++;
    row.bytes += nodes[i + 1];
  }
  found.sort((a, b) => b.count - a.count || (a.kind < b.kind ? -1 : 1));
  return found.filter((row) => row.count > 0).slice(0, MAX_ROWS);
}

function countTimers(timers, ours, rows) {
  for (let i = 0; i < timers.length; i++) {
    const timer = timers[i];
    const callback = own(timer, '_onTimeout');
    if (ours.has(timer) || own(timer, '_destroyed') === true || typeof callback !== 'function') continue;
    const repeat = own(timer, '_repeat');
    rows.add('timers', (repeat ? 'setInterval ' : 'setTimeout ') + functionName(callback), 1);
  }
}

/** What the event loop waits for, by type; costs microseconds and collects nothing. */
function countResources(rows) {
  const resources = process.getActiveResourcesInfo;
  if (typeof resources === 'function') {
    for (const type of resources.call(process)) {
      // Timers are counted exactly elsewhere, unref'ed ones too; immediates live for a turn, one of them is ours.
      if (type !== 'Timeout' && type !== 'Immediate') rows.add('resources', type, 1);
    }
  }
  const handles = attempt(() => process._getActiveHandles(), []);
  for (const handle of handles) rows.add('handles', className(Object.getPrototypeOf(handle)), 1);
}

/**
 * Live objects by prototype, through an inspector session of our own that is open for one call: the only way to count
 * what exists without patching what makes it. The heap is collected by it, so only reachable objects are seen.
 */
class Inspection {
  constructor(bridge, door) {
    const inspector = require('inspector');
    // Any session that disconnects takes the ids of all objects with it: while snapshots are compared, ours stays.
    this.lent = door !== null && door.opened;
    if (!this.lent && inspector.url()) throw new Error('the inspector is in use');
    this.session = this.lent ? door.lend() : new inspector.Session();
    if (!this.lent) this.session.connect();
    bridge.ours.add(this.session);
    this.bridge = this.reach(bridge);
  }

  /** Answers come before `post` returns: a session of the same thread is a function call. */
  post(method, params) {
    let answer = null;
    let failure = new Error('the inspector did not answer at once');
    this.session.post(method, params, (error, result) => {
      failure = error ? new Error(String(error.message)) : null;
      answer = result;
    });
    if (failure === null && answer.exceptionDetails) failure = new Error('the count threw');
    if (failure !== null) throw failure;
    return answer;
  }

  /** The inspector evaluates in the global scope only: the bridge hangs there for this one synchronous call. */
  reach(bridge) {
    const name = '__plimsoll_bridge__';
    Object.defineProperty(globalThis, name, { value: bridge, configurable: true, enumerable: false });
    try {
      return this.post('Runtime.evaluate', { expression: 'globalThis.' + name, objectGroup: 'plimsoll', silent: true }).result
        .objectId;
    } finally {
      delete globalThis[name];
    }
  }

  /** Calls `bridge[count]` with all live objects that have the prototype `bridge[prototype]` in their chain. */
  query(prototype, count) {
    const call = (functionDeclaration, args) =>
      this.post('Runtime.callFunctionOn', {
        objectId: this.bridge,
        functionDeclaration,
        arguments: args,
        objectGroup: 'plimsoll',
        silent: true,
      });
    const prototypeObjectId = call('function () { return this.' + prototype + '; }', []).result.objectId;
    const found = this.post('Runtime.queryObjects', { prototypeObjectId, objectGroup: 'plimsoll' }).objects;
    call('function (found) { this.' + count + '(found); }', [{ objectId: found.objectId }]);
  }

  close() {
    attempt(() => this.post('Runtime.releaseObjectGroup', { objectGroup: 'plimsoll' }));
    if (!this.lent) attempt(() => this.session.disconnect());
  }
}

/**
 * Bytes alive by the function of the subject that allocated them, sampled: its own session, open until the probe goes.
 */
class Sampling {
  constructor() {
    const inspector = require('inspector');
    this.session = new inspector.Session();
    this.session.connect();
    this.session.post('HeapProfiler.startSampling', { samplingInterval: 16384 });
  }

  /**
   * Bytes by stack, most first. A stack begins with the innermost function of the subject; behind it, what that called of
   * packages and of the runtime.
   */
  stacks() {
    let profile = null;
    this.session.post('HeapProfiler.getSamplingProfile', (error, result) => {
      if (!error) profile = result.profile;
    });
    const found = new Map();
    const open = profile === null ? [] : [{ node: profile.head, frames: [], key: '' }];
    while (open.length > 0) {
      let { node, frames, key } = open.pop();
      const { functionName, url, scriptId, lineNumber, columnNumber } = node.callFrame;
      const own = url !== '' && url.indexOf('node:') !== 0 && url.indexOf('/node_modules/') < 0;
      if (own || (frames.length > 0 && frames.length < STACK_FRAMES)) {
        const frame = { name: functionName, url, script: scriptId, line: lineNumber + 1, column: columnNumber + 1 };
        const said = [functionName, url, lineNumber, columnNumber].join(' ');
        frames = own ? [frame] : frames.concat(frame);
        key = own ? said : key + '\n' + said;
      }
      if (frames.length > 0 && node.selfSize > 0) {
        const stack = found.get(key) || { frames, bytes: 0 };
        stack.bytes += node.selfSize;
        found.set(key, stack);
      }
      for (const child of node.children) open.push({ node: child, frames, key });
    }
    return Array.from(found.values()).sort((a, b) => b.bytes - a.bytes);
  }

  /** Rows by function of the subject. */
  read() {
    const found = new Map();
    for (const { frames, bytes } of this.stacks()) {
      const { name, url, line } = frames[0];
      const kind = (name || 'anonymous') + ' ' + url + ':' + line;
      found.set(kind, (found.get(kind) || 0) + bytes);
    }
    const rows = Array.from(found, ([kind, bytes]) => ({ family: 'allocations', kind, count: 0, bytes }));
    return rows.sort((a, b) => b.bytes - a.bytes).slice(0, 20);
  }

  close() {
    attempt(() => this.session.disconnect());
  }
}

/**
 * Listeners by emitter class, and timers by callback. `ours` are the emitters and timers of the probe. Each of the two
 * visits the whole heap, so timers are left out where another visit would outlast the deadline; false if so.
 */
function countLive(rows, ours, timers, deadline, door) {
  const EventEmitter = require('events');
  const sentinel = setTimeout(() => {}, 1e9);
  clearTimeout(sentinel);
  const bridge = {
    ours,
    emitter: EventEmitter.prototype,
    timer: Object.getPrototypeOf(sentinel),
    countListeners: (found) => countListeners(found, ours, rows),
    countTimers: (found) => countTimers(found, ours, rows),
  };
  const inspection = new Inspection(bridge, door);
  try {
    const begun = now();
    inspection.query('emitter', 'countListeners');
    const ended = now();
    if (!timers) return true;
    if (ended + (ended - begun) > deadline) return false;
    inspection.query('timer', 'countTimers');
    return true;
  } finally {
    inspection.close();
  }
}

/* ---------------------------------------------------------------- the inspector, opened for a moment */

/**
 * The inspector on a private loopback port, for evidence that would be buffered inside the subject otherwise: the hub's
 * side reads it over that port. One that is open already is the user's: it is lent, and not closed.
 *
 * Closing it blocks the isolate while a client is connected, so nothing here closes it by itself but the end of the hub,
 * whose connection to it has ended by then too.
 */
class Door {
  constructor() {
    this.inspector = require('inspector');
    this.opened = false;
    this.port = undefined;
    this.session = null;
  }

  /** A session of the isolate itself that lives as long as the door is open. */
  lend() {
    if (this.session === null) {
      this.session = new this.inspector.Session();
      this.session.connect();
    }
    return this.session;
  }

  /** Its address, and whether it is the user's. */
  open() {
    const url = this.inspector.url();
    if (url) return { url, shared: !this.opened };
    this.port = process.debugPort;
    this.inspector.open(0, '127.0.0.1', false);
    this.opened = true;
    return { url: this.inspector.url(), shared: false };
  }

  close() {
    if (this.session !== null) attempt(() => this.session.disconnect());
    this.session = null;
    if (this.opened) {
      this.inspector.close();
      // Node would open it there again when it is asked to by its signal, where nobody looks for it.
      attempt(() => (process.debugPort = this.port));
    }
    this.opened = false;
  }
}

/* ---------------------------------------------------------------- collections the runtime makes by itself */

/**
 * Sizes after each collection the runtime makes by itself, from `v8.GCProfiler`. Its buffer (3 kB a collection) knows no
 * bound while the event loop is blocked, so the hub has to ask for it; it is emptied at every tick, and given up where
 * collections are too many. Events carry no time of their own: theirs is the tick at which they were seen.
 */
class GcWatch {
  constructor(v8, emit, gap) {
    this.v8 = v8;
    this.emit = emit;
    this.gap = gap;
    this.profiler = null;
    this.second = 0;
    this.count = 0;
    this.givenUp = false;
  }

  start() {
    if (this.profiler !== null || this.givenUp) return;
    this.profiler = new this.v8.GCProfiler();
    this.profiler.start();
  }

  /** Ends the window and tells what was seen in it; `start` begins the next. */
  drain(at) {
    if (this.profiler === null) return;
    const report = this.profiler.stop();
    this.profiler = null;
    const events = report === undefined ? [] : report.statistics;
    if (at - this.second > 1e6) {
      this.second = at;
      this.count = 0;
    }
    this.count += events.length;
    if (this.count > MAX_GC_PER_SECOND) {
      this.givenUp = true;
      this.gap('gc', 'more than ' + MAX_GC_PER_SECOND + ' collections in a second, not followed any more');
      return;
    }
    const told = events.map((event) => {
      const after = event.afterGC && event.afterGC.heapStatistics;
      return {
        type: 'gc',
        at_us: at,
        kind: String(event.gcType),
        pause_us: event.cost,
        used_after: after ? after.usedHeapSize : null,
      };
    });
    if (told.length > 0) this.emit(told);
  }
}

/* ---------------------------------------------------------------- the conversation */

class Probe {
  constructor(config) {
    this.v8 = require('v8');
    this.config = config;
    this.socket = null;
    this.inbox = Buffer.alloc(INBOX_BYTES);
    this.filled = 0;
    this.heap = new Heap(this.v8);
    this.settledAt = 0;
    this.timer = null;
    this.sequence = 0;
    this.dropped = 0;
    this.arrayBuffersAt = 0;
    this.gcWatch = null;
    this.door = null;
    this.sampling = null;
    this.queue = [];
    this.current = null;
    this.turn = () => guard(this, () => this.advance());
    this.operations = {
      collect: (command) => this.collect(command),
      census: (command) => this.census(command),
      classes: (command) => this.classes(command),
      sampling: (command) => this.allocations(command),
      listeners: (command) => this.census(command),
      resources: (command) => {
        const rows = new Rows();
        countResources(rows);
        this.reply(command, { at_us: now(), method: 'exact', rows: rows.top(), pause_us: now() - command.begun });
      },
      gauges: (command) => {
        this.reply(command, { at_us: now(), values: this.gauges(this.heap.read()) });
      },
      snapshot: (command) => this.snapshot(command),
      mark: (command) => this.reply(command, {}),
      bye: (command) => {
        this.reply(command, {});
        this.socket.end();
        this.release();
      },
    };
  }

  connect() {
    const net = require('net');
    // A buffer of our own for what arrives: by default every read allocates 64 KiB that a collection would then see.
    const onread = {
      buffer: Buffer.alloc(4096),
      callback: (n, buffer) => {
        guard(this, () => this.receive(buffer, n));
        return true;
      },
    };
    const socket = net.connect({ path: this.config.socket, onread });
    socket.unref();
    socket.on('error', () => this.release());
    socket.on('close', () => this.release());
    socket.on('end', () => this.release());
    this.socket = socket;
    if (!this.helloAtOnce()) socket.on('connect', () => guard(this, () => this.send(this.hello())));
  }

  /**
   * A Unix socket is connected when `connect` returns; only the event loop has not heard of it. Saying hello past the loop
   * makes an isolate known that blocks its loop for long, or for ever.
   */
  helloAtOnce() {
    const handle = this.socket._handle;
    if (!handle || !(handle.fd >= 0)) return false;
    const bytes = Buffer.from(frame(JSON.stringify(this.hello())), 'latin1');
    const written = attempt(() => require('fs').writeSync(handle.fd, bytes), 0);
    // Half a frame cannot be taken back.
    if (written > 0 && written < bytes.length) throw new Error('the hub does not read');
    return written > 0;
  }

  gauges(statistics) {
    return {
      heap_used: statistics.used_heap_size,
      heap_total: statistics.total_heap_size,
      external: this.heap.external(statistics),
    };
  }

  /** Lets go of everything, for good. */
  release() {
    if (this.socket === null) return;
    const socket = this.socket;
    this.socket = null;
    this.queue.length = 0;
    this.current = null;
    if (this.timer !== null) clearInterval(this.timer);
    this.timer = null;
    if (this.gcWatch !== null) attempt(() => this.gcWatch.profiler && this.gcWatch.profiler.stop());
    this.gcWatch = null;
    if (this.door !== null) attempt(() => this.door.close());
    if (this.sampling !== null) this.sampling.close();
    this.sampling = null;
    if (!socket.writableEnded) socket.destroy();
  }

  send(message) {
    if (this.socket !== null) this.socket.write(frame(JSON.stringify(message)), 'latin1');
  }

  /** Sends what may be lost, in one write: dropped and counted where the hub does not keep up. */
  offer(messages) {
    if (this.socket === null) return;
    if (this.socket.writableLength > BACKLOG_BYTES) {
      this.dropped += messages.length;
      return;
    }
    if (this.dropped > 0) {
      messages.unshift({ type: 'drop', n: this.dropped });
      this.dropped = 0;
    }
    this.socket.write(messages.map((message) => frame(JSON.stringify(message))).join(''), 'latin1');
  }

  hello() {
    const threads = attempt(() => require('worker_threads'), { isMainThread: true, threadId: 0 });
    const gaps = [];
    const caps = ['collect', 'mark', 'gauges', 'bye'];
    const gap = (what, why) => gaps.push({ what, why });
    if (RUNTIME === 'bun') {
      gap('who holds what grows', 'Bun numbers objects anew in each snapshot: classes are counted instead');
      gap('timers, handles and listeners', 'Bun does not tell them');
      gap('memory outside the heap', 'Bun does not tell how much of its heap is resident');
      gap('collections of the runtime', 'Bun has no v8.GCProfiler');
      if (typeof globalThis.Bun.generateHeapSnapshot === 'function') caps.push('classes');
    } else {
      caps.push('resources', 'census');
      if (RUNTIME === 'deno') gap('listeners and timers', "Deno's inspector cannot be asked from inside");
      else if ((process.features || {}).inspector) caps.push('listeners');
      else gap('listeners', 'this runtime was built without an inspector');
      if (typeof this.v8.GCProfiler === 'function') caps.push('gc');
      else gap('gc', 'v8.GCProfiler came with Node 18.15');
    }
    // A worker thread opens an inspector of its own, beside that of the main thread.
    if (RUNTIME === 'node' && (process.features || {}).inspector) caps.push('snapshot', 'classes', 'sampling');
    const text = (a) => a.slice(0, 32).map((s) => String(s).slice(0, 512));
    const statistics = this.heap.read();
    return {
      type: 'hello',
      proto: PROTOCOL,
      token: this.config.token,
      pid: process.pid,
      ppid: process.ppid,
      isolate: threads.isMainThread ? 0 : threads.threadId,
      main: threads.isMainThread,
      name: threads.threadName || null,
      runtime: RUNTIME,
      version:
        RUNTIME === 'deno' ? globalThis.Deno.version.deno : RUNTIME === 'bun' ? globalThis.Bun.version : process.versions.node,
      caps,
      gaps,
      argv: text(process.argv),
      exec_argv: text(process.execArgv),
      heap_limit: statistics.heap_size_limit,
      at_us: now(),
      values: this.gauges(statistics),
    };
  }

  receive(buffer, n) {
    if (this.socket === null) return;
    if (this.filled + n > INBOX_BYTES) throw new Error('a frame that is not from our hub');
    buffer.copy(this.inbox, this.filled, 0, n);
    this.filled += n;
    let from = 0;
    while (this.filled - from >= 5) {
      const length = this.inbox.readUInt32LE(from);
      if (length > INBOX_BYTES - 5) throw new Error('a frame that is not from our hub');
      if (this.filled - from < 5 + length) break;
      const json = this.inbox[from + 4] === 0;
      const body = json ? this.inbox.toString('utf8', from + 5, from + 5 + length) : null;
      from += 5 + length;
      if (json) this.dispatch(JSON.parse(body));
      if (this.socket === null) return;
    }
    if (from > 0) {
      this.inbox.copy(this.inbox, 0, from, this.filled);
      this.filled -= from;
    }
  }

  dispatch(message) {
    if (message === null || typeof message !== 'object') throw new Error('not a message');
    if (message.type === 'config') this.configure(message);
    else if (message.type === 'cmd') this.enqueue(message);
    else if (message.type === 'cancel') this.cancel(message.id);
  }

  configure(message) {
    if (this.timer !== null) clearInterval(this.timer);
    this.timer = null;
    const hz = Math.min(Math.max(Number(message.hz) || 0, 0), 100);
    if (message.gc === true && RUNTIME !== 'bun' && typeof this.v8.GCProfiler === 'function') {
      this.gcWatch = new GcWatch(
        this.v8,
        (events) => this.offer(events),
        (what, why) => this.send({ type: 'gap', what, why }),
      );
      this.gcWatch.start();
    }
    if (hz === 0) return;
    this.send({ type: 'schema', names: ['heap_used', 'heap_total', 'external', 'array_buffers'] });
    this.timer = setInterval(() => guard(this, () => this.sample()), 1000 / hz);
    this.timer.unref();
  }

  sample() {
    const at = now();
    const statistics = this.heap.read();
    let arrayBuffers = null;
    if (RUNTIME === 'node' && at - this.arrayBuffersAt >= ARRAY_BUFFERS_EVERY_US) {
      // Comes only together with RSS, which costs twenty times the rest.
      this.arrayBuffersAt = at;
      const bytes = process.memoryUsage().arrayBuffers;
      if (bytes !== undefined) arrayBuffers = bytes;
    }
    const values = [statistics.used_heap_size, statistics.total_heap_size, this.heap.external(statistics), arrayBuffers];
    this.offer([{ type: 's', seq: this.sequence++, at_us: at, values }]);
    if (this.gcWatch !== null && this.current === null) {
      this.gcWatch.drain(at);
      this.gcWatch.start();
    }
  }

  /* Commands come one at a time: a second collection inside a first would measure the first. */

  enqueue(message) {
    const command = {
      id: message.id,
      op: String(message.op),
      args: message.args || {},
      begun: now(),
      deadline: Number(message.deadline_ms) > 0 ? now() + message.deadline_ms * 1e3 : Infinity,
      cancelled: false,
      passes: 0,
      doubted: false,
    };
    if (this.queue.length >= MAX_QUEUED_COMMANDS) {
      this.fail(command, 'busy', 'too many commands wait');
      return;
    }
    this.queue.push(command);
    if (this.current === null) this.next();
  }

  next() {
    while (this.current === null && this.queue.length > 0) {
      const command = this.queue.shift();
      const operation = Object.prototype.hasOwnProperty.call(this.operations, command.op)
        ? this.operations[command.op]
        : null;
      command.begun = now();
      if (operation === null) this.fail(command, 'unsupported', 'unknown operation ' + command.op.slice(0, 40));
      else {
        try {
          operation(command);
        } catch (error) {
          this.fail(command, 'refused', String(error && error.message).slice(0, 200));
        }
      }
    }
  }

  reply(command, ok) {
    this.send({ type: 'reply', id: command.id, ok });
  }

  fail(command, kind, message) {
    this.send({ type: 'reply', id: command.id, error: { kind, message } });
  }

  cancel(id) {
    if (this.current !== null && this.current.id === id) this.current.cancelled = true;
    const at = this.queue.findIndex((command) => command.id === id);
    if (at >= 0) this.fail(this.queue.splice(at, 1)[0], 'cancelled', 'cancelled before it began');
  }

  /**
   * Collections with a turn of the event loop before each, so that finalisers run and weak references of the last job
   * are let go, until two readings agree.
   */
  collect(command) {
    if (!this.heap.prepare()) {
      this.fail(command, 'unsupported', 'this runtime does not let its collector be called');
      return;
    }
    if (this.gcWatch !== null) this.gcWatch.drain(now());
    this.current = command;
    setImmediate(this.turn);
  }

  advance() {
    const command = this.current;
    if (command === null) return;
    if (command.cancelled || now() > command.deadline) {
      this.done();
      this.fail(command, command.cancelled ? 'cancelled' : 'deadline', 'after ' + command.passes + ' collections');
      this.next();
      return;
    }
    const agrees = this.heap.pass();
    command.passes++;
    const settled = agrees && command.passes > 1;
    if (settled && !command.doubted && this.heap.live() - this.settledAt > DOUBTFUL_BYTES) {
      command.doubted = true;
      setTimeout(this.turn, DOUBT_MS).unref();
      return;
    }
    if (!settled && command.passes < (command.doubted ? MAX_PASSES + 2 : MAX_PASSES)) {
      setImmediate(this.turn);
      return;
    }
    this.settledAt = this.heap.live();
    const at = now();
    const values = this.heap.values();
    this.reply(command, { at_us: at, values, passes: command.passes, settled, pause_us: at - command.begun });
    this.done();
    this.next();
  }

  done() {
    this.current = null;
    if (this.gcWatch !== null) this.gcWatch.start();
  }

  /** Opens the inspector for whoever reads a snapshot, or closes it behind him; once it is open, writes a snapshot. */
  snapshot(command) {
    if (this.door === null) this.door = new Door();
    if (command.args.end === true) {
      this.door.close();
      this.reply(command, {});
      return;
    }
    if (typeof command.args.into === 'string') {
      this.writeSnapshot(command.args.into);
      this.reply(command, { at_us: now() });
      return;
    }
    const heap = this.v8.getHeapStatistics();
    const { url, shared } = this.door.open();
    this.reply(command, { at_us: now(), url, shared, heap_used: heap.used_heap_size });
  }

  /**
   * Writes a snapshot into a pipe of the hub's. V8 opens it by its name and would wait there for a reader, or make a file:
   * it is opened here before, which fails where nobody reads any more, and kept open meanwhile.
   */
  writeSnapshot(path) {
    const fs = require('fs');
    const pipe = fs.openSync(path, fs.constants.O_WRONLY | fs.constants.O_NONBLOCK);
    try {
      if (!fs.fstatSync(pipe).isFIFO()) throw new Error('not a pipe');
      this.v8.writeHeapSnapshot(path);
    } finally {
      fs.closeSync(pipe);
    }
  }

  /** Who allocates what stays: sampled from `begin` on, told and ended without. */
  allocations(command) {
    if (command.args.begin === true) {
      if (this.sampling === null) this.sampling = new Sampling();
      this.reply(command, {});
      return;
    }
    const stacks = this.sampling === null ? [] : this.sampling.stacks().slice(0, MOST_STACKS);
    if (this.sampling !== null) this.sampling.close();
    this.sampling = null;
    this.reply(command, { stacks });
  }

  /** Counts without a snapshot: objects by class now, and from the second time on who allocated what is alive. */
  classes(command) {
    if (RUNTIME === 'bun') {
      const rows = classesOfBun();
      const at = now();
      this.reply(command, { at_us: at, method: 'exact', rows, gaps: [], pause_us: at - command.begun });
      return;
    }
    const rows = new Rows();
    const inspection = new Inspection(
      { ours: new Set(), object: Object.prototype, countClasses: (found) => countClasses(found, rows) },
      this.door,
    );
    try {
      inspection.query('object', 'countClasses');
    } finally {
      inspection.close();
    }
    let all = rows.top();
    if (this.sampling === null) this.sampling = new Sampling();
    else all = all.concat(this.sampling.read());
    const at = now();
    this.reply(command, { at_us: at, method: 'exact', rows: all, gaps: [], pause_us: at - command.begun });
  }

  census(command) {
    const scope = command.args.scope;
    if (command.op === 'census' && scope !== 'resources') {
      this.fail(command, 'unsupported', 'unknown scope ' + String(scope).slice(0, 40));
      return;
    }
    const rows = new Rows();
    const gaps = [];
    try {
      const ours = new Set([this.socket, this.timer]);
      // Elsewhere it is a gap that hello has told.
      if (RUNTIME === 'node' && !countLive(rows, ours, command.op === 'census', command.deadline, this.door)) {
        gaps.push({ what: 'timers', why: 'counting them would have outlasted the deadline' });
      }
    } catch (error) {
      gaps.push({ what: 'listeners and timers', why: String(error && error.message).slice(0, 200) });
    }
    if (command.op === 'census') countResources(rows);
    const at = now();
    this.reply(command, { at_us: at, method: 'exact', rows: rows.top(), gaps, pause_us: at - command.begun });
  }
}

/** Nothing of ours may reach the subject as an exception: what throws ends the probe. */
function guard(probe, f) {
  try {
    f();
  } catch (_) {
    attempt(() => probe.release());
  }
}

/** A startup snapshot cannot hold our socket; an unconfigured probe has nobody to speak to. */
function wanted(config) {
  return config !== null && !process.execArgv.some((flag) => flag.indexOf('--build-snapshot') === 0);
}

attempt(() => {
  // Whoever walks or clears the module cache (reloaders, test runners) shall not meet us there.
  if (typeof __filename === 'string') delete require.cache[__filename];
});

attempt(() => {
  if (wanted(CONFIG)) new Probe(CONFIG).connect();
});
