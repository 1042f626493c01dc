'use strict';

/*
 * Obeys the suites: creates, uses, drops and disposes of what a subject module makes, collects, and measures. The program
 * that `plimsoll suite` starts, in Node. Its arguments are the socket where it is told what to do, and the module.
 *
 * Commands are lines of JSON, `{"do":"batch","n":1000,…}`, one at a time; answers too:
 *
 *   (loaded)  → {"ready":{…what the subject has…}}, or {"failed":"what it does instead","code":"the error's code"} and the end
 *   a command → {"done":{…}}, or {"refused":"why"}
 *   where     → {"at":"create(17)"}, also while a command goes on, where the event loop turns
 *
 * Nothing is decided here: plans, limits and verdicts are the engine's. Memories of WebAssembly are seen by wrapping the
 * constructors before the module is loaded; they are held weakly, and so is every object that is counted. Syntax is kept
 * to what Node 14.0 parses, so that a runtime that is too old is told by name.
 */

const net = require('net');
const path = require('path');
const url = require('url');
const v8 = require('v8');
const vm = require('vm');

// Taken before the module can replace them (fake timers do).
const { setImmediate, setTimeout, setInterval } = globalThis;
const { hrtime } = process;
const print = console.error.bind(console);

/** Collections of one reading at most, apart from those that wait for finalisers. */
const MOST_PASSES = 8;
/** A pause between two looks at finalisers that take their time. */
const LOOK_MS = 10;
/** Synchronous work lets the event loop turn at least so often. */
const TURN_MS = 50;
/** Kinds of errors that are told apart; messages with ids in them are one kind. */
const KINDS = 16;
const KIND_LENGTH = 160;
/** A reading this far above the last settled one is looked at again: a function that is being compiled holds some 240 kB. */
const DOUBTFUL_BYTES = 64 * 1024;
const DOUBT_MS = 20;
const MOST_DOUBTS = 3;

// The module sees the arguments of a program that was started by itself.
const [socketPath, modulePath] = process.argv.splice(1, 3, process.argv[3]).slice(1);

/** Milliseconds of the monotonic clock: those on the wall are set. */
function now() {
  const t = hrtime();
  return t[0] * 1e3 + t[1] / 1e6;
}

/** The first line of an error. */
function brief(thrown) {
  try {
    const text = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
    return text.split('\n')[0].slice(0, KIND_LENGTH);
  } catch (_) {
    return 'something that cannot be shown';
  }
}

/* ---------------------------------------------------------------- memory of WebAssembly */

const memories = new Set();

function seen(memory) {
  if (!(memory instanceof WebAssembly.Memory)) return;
  for (const known of memories) if (known.deref() === memory) return;
  memories.add(new WeakRef(memory));
}

function scan(object) {
  if (object === null || typeof object !== 'object') return;
  for (const key of Object.keys(object)) {
    let value;
    try {
      value = object[key];
    } catch (_) {
      continue;
    }
    seen(value);
  }
}

/** Sees every memory: made by JavaScript, exported by an instance, or imported into one. */
function watchMemories() {
  if (typeof WebAssembly === 'undefined' || typeof WeakRef === 'undefined') return;
  const { Memory, Instance, instantiate, instantiateStreaming } = WebAssembly;
  const imported = (imports) => {
    if (imports !== null && typeof imports === 'object') Object.keys(imports).forEach((name) => scan(imports[name]));
  };
  WebAssembly.Memory = new Proxy(Memory, {
    construct(target, args, newTarget) {
      const made = Reflect.construct(target, args, newTarget);
      seen(made);
      return made;
    },
  });
  WebAssembly.Instance = new Proxy(Instance, {
    construct(target, args, newTarget) {
      const made = Reflect.construct(target, args, newTarget);
      scan(made.exports);
      imported(args[1]);
      return made;
    },
  });
  const watched = (original) =>
    function (source, imports) {
      return Reflect.apply(original, this, arguments).then((result) => {
        scan((result.instance || result).exports);
        imported(imports);
        return result;
      });
    };
  WebAssembly.instantiate = watched(instantiate);
  if (instantiateStreaming) WebAssembly.instantiateStreaming = watched(instantiateStreaming);
}

/** Bytes of all memories that still exist, and how many they are; null where there is none and never was. */
function wasmMemory() {
  let bytes = 0;
  let count = 0;
  const told = subject.memory === undefined ? undefined : subject.memory();
  if (typeof told === 'number') return { bytes: told, count: 1 };
  if (told !== undefined && told !== null) seen(told);
  for (const known of memories) {
    const memory = known.deref();
    if (memory === undefined) memories.delete(known);
    else {
      bytes += memory.buffer.byteLength;
      count++;
    }
  }
  return { bytes, count };
}

/* ---------------------------------------------------------------- collecting and measuring */

/** Without optimizing compilers, whose code lies on the heap and comes function by function for thousands of calls. */
function quietCompilers() {
  const major = Number(process.versions.node.split('.')[0]);
  for (const flag of ['opt', 'sparkplug', 'maglev', 'flush-bytecode']) {
    if ((flag === 'sparkplug' && major < 16) || (flag === 'maglev' && major < 20)) continue;
    v8.setFlagsFromString(`--no-${flag}`);
  }
}

function takeGc() {
  if (typeof globalThis.gc === 'function') return globalThis.gc;
  v8.setFlagsFromString('--expose-gc');
  try {
    return vm.runInNewContext('gc');
  } finally {
    v8.setFlagsFromString('--no-expose-gc');
  }
}

const gc = takeGc();
const hasFinalizers = typeof FinalizationRegistry !== 'undefined';

/** How many of the counted objects were created and how many of them are gone. */
let created = 0;
let gone = 0;
const registry = hasFinalizers ? new FinalizationRegistry(() => gone++) : null;

function countObject(object) {
  if (registry === null || object === null || (typeof object !== 'object' && typeof object !== 'function')) return;
  created++;
  registry.register(object, undefined);
}

function measure() {
  const heap = v8.getHeapStatistics();
  const memory = process.memoryUsage();
  const linear = wasmMemory();
  let resources = null;
  if (subject.live !== undefined) resources = Number(subject.live());
  return {
    at_ms: now(),
    heap_used: heap.used_heap_size,
    heap_limit: heap.heap_size_limit,
    external: memory.external,
    array_buffers: memory.arrayBuffers === undefined ? null : memory.arrayBuffers,
    linear: linear.bytes,
    memories: linear.count,
    rss: memory.rss,
    live: registry === null ? null : created - gone,
    resources,
  };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));
const rest = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

let settledAt = Infinity;

/**
 * Collects, with a turn of the event loop before each collection, until two readings agree. While objects are still counted as
 * alive beyond `expect`, finalisers are waited for, `wait_ms` at most: they run when they like, and subjects put things off.
 */
async function collect({ wait_ms: wait = 500, expect = null }) {
  const begun = now();
  let passes = 0;
  let last = NaN;
  let doubts = 0;
  /** When nothing beyond what was expected was left. */
  let finalised = null;
  const isFinalised = () => {
    if (expect === null) return true;
    const resources = subject.live === undefined ? null : Number(subject.live());
    if (resources !== null && expect.resources !== null && resources > expect.resources) return false;
    return registry === null || expect.live === null || created - gone <= expect.live;
  };
  for (;;) {
    await turn();
    gc();
    passes++;
    const used = v8.getHeapStatistics().used_heap_size;
    let agrees = Math.abs(used - last) <= 64;
    last = used;
    if (finalised === null && isFinalised()) {
      finalised = now() - begun;
      // What was kept for the finalisers goes with the next collections only.
      agrees = false;
      last = NaN;
    }
    const waited = now() - begun;
    if (finalised === null && waited < wait) {
      // The first finalisers come with the next turn; those that do not are no matter of turns.
      if (passes > 3) await rest(Math.min(LOOK_MS, wait - waited));
      continue;
    }
    if (agrees && doubts < MOST_DOUBTS && used - settledAt > DOUBTFUL_BYTES) {
      await rest(DOUBT_MS << doubts++);
      continue;
    }
    if ((agrees && passes > 1) || passes >= MOST_PASSES) break;
  }
  settledAt = last;
  await turn();
  return { ...measure(), passes, waited_ms: now() - begun, finalised_ms: finalised };
}

/* ---------------------------------------------------------------- what a subject is told to do */

const subject = {};
let index = 0;
let at = 'nothing';
let kept = [];
let printed = false;

const isPromise = (value) =>
  value !== null && (typeof value === 'object' || typeof value === 'function') && typeof value.then === 'function';

function count(errors, thrown) {
  let kind = brief(thrown).replace(/\d+/g, '#');
  if (!errors.has(kind) && errors.size >= KINDS) kind = 'other errors';
  errors.set(kind, (errors.get(kind) || 0) + 1);
}

/** An error of the subject that no check asked for. */
function unexpected(errors, thrown) {
  count(errors, thrown);
  if (printed) return;
  printed = true;
  print(`${at} failed, the first to do so:`, thrown);
}

/** Errors of a batch that say enough: more than so many, and than this share of it. Failing may take longer than working. */
const FEW_ERRORS = 16;
const MOST_ERRORS = 0.01;

class Planned extends Error {}

async function createOne(options, counted) {
  const i = index++;
  at = `create(${i})`;
  let made = subject.create(i, options);
  if (isPromise(made)) made = await made;
  if (counted) countObject(made);
  return made;
}

function useOne(object) {
  at = 'use()';
  return subject.use(object);
}

function disposeOne(object) {
  at = 'dispose()';
  return subject.dispose(object);
}

async function settle(value) {
  return isPromise(value) ? await value : value;
}

/** One object through its life, as `fault` has it go wrong. Each fault is a scenario of error recovery. */
async function oneLife(options, { use, fate, fault, counted }) {
  if (fault === 'invalid') {
    // What was made in spite of it is disposed of like anything else.
    const made = await createOne({ ...options, invalid: true }, counted);
    if (fate === 'dispose' && subject.dispose !== undefined) await settle(disposeOne(made));
    throw new Accepted();
  }
  if (fault === 'async') {
    const made = await createOne(options, counted);
    await Promise.resolve();
    if (subject.use !== undefined) await settle(useOne(made));
    throw new Planned('after an await');
  }
  const made = await createOne(options, counted);
  if (fault === 'after-create') throw new Planned('after creation');
  if (fault === 'during-use') {
    const running = subject.use === undefined ? undefined : useOne(made);
    if (isPromise(running)) await running;
    throw new Planned('in the middle of its use');
  }
  if (fault === 'finally') {
    try {
      if (subject.use !== undefined) await settle(useOne(made));
      throw new Planned('with a finally around it');
    } finally {
      if (fate === 'dispose') await settle(disposeOne(made));
    }
  }
  if (fault === 'nested') {
    try {
      if (subject.use !== undefined) await settle(useOne(made));
      const inner = await createOne(options, counted);
      try {
        if (subject.use !== undefined) await settle(useOne(inner));
        throw new Planned('of the inner of two');
      } finally {
        if (fate === 'dispose') await settle(disposeOne(inner));
      }
    } catch (inner) {
      throw new Planned('of the outer of two');
    } finally {
      if (fate === 'dispose') await settle(disposeOne(made));
    }
  }
  if (use && subject.use !== undefined) {
    const used = useOne(made);
    if (isPromise(used)) await used;
  }
  if (fate === 'keep') kept.push(made);
  else if (fate === 'dispose') {
    const disposed = disposeOne(made);
    if (isPromise(disposed)) await disposed;
  }
}

/** Input that is said to be invalid was taken. */
class Accepted extends Error {}

function heapUsed() {
  return v8.getHeapStatistics().used_heap_size;
}

/**
 * `n` lives, or as many as fit in `ms`. `alternate` disposes of every other one and drops the rest. `peak` looks at the heap
 * after every so many. What has grown by more than `collect_above` bytes is collected first: when V8 collects by itself is V8's
 * affair, and on a busy machine it does so late. The highest reading before that is told apart.
 */
async function batch(command) {
  const { n = Infinity, ms = Infinity, rows = 2, columns = 3, fate = 'drop', use = false, faults = null, alternate = false } = command;
  const counted = command.count !== false;
  const errors = new Map();
  let planned = 0;
  let accepted = 0;
  let failed = 0;
  let done = 0;
  let peak = 0;
  let highest = 0;
  let peakLinear = 0;
  const from = heapUsed();
  const begun = now();
  let turnedAt = begun;
  const end = begun + ms;
  for (; done < n; done++) {
    const manual = alternate ? done % 2 === 0 : fate === 'dispose';
    const options = { rows, columns, cleanup: command.cleanup || (manual ? 'manual' : 'auto'), invalid: false };
    const fault = faults === null ? null : faults[done % faults.length];
    const life = { use, fate: alternate ? (manual ? 'dispose' : 'drop') : fate, fault, counted };
    try {
      if (command.request !== undefined) await answer(command.request);
      else await oneLife(options, life);
    } catch (thrown) {
      if (thrown instanceof Planned || (fault === 'invalid' && !(thrown instanceof Accepted))) planned++;
      else if (thrown instanceof Accepted) accepted++;
      else {
        unexpected(errors, thrown);
        if (++failed > FEW_ERRORS && failed > MOST_ERRORS * (Number.isFinite(n) ? n : done)) {
          done++;
          break;
        }
      }
    }
    if (command.peak > 0 && done % command.peak === 0) {
      let used = heapUsed();
      highest = Math.max(highest, used);
      if (used - from > command.collect_above) {
        gc();
        used = heapUsed();
      }
      peak = Math.max(peak, used);
      peakLinear = Math.max(peakLinear, wasmMemory().bytes);
    }
    const time = now();
    if (time >= end) {
      done++;
      break;
    }
    if (time - turnedAt >= TURN_MS) {
      await turn();
      turnedAt = now();
    }
  }
  at = 'nothing';
  return { done, planned, accepted, errors: Object.fromEntries(errors), ms: now() - begun, peak, highest, peak_linear: peakLinear };
}

/** Lets go of what is kept: `dispose` calls the subject, `drop` only forgets. */
async function release({ fate }) {
  const begun = now();
  const errors = new Map();
  const count = kept.length;
  if (fate === 'dispose') {
    for (const object of kept) {
      try {
        await settle(disposeOne(object));
      } catch (thrown) {
        unexpected(errors, thrown);
      }
    }
  }
  kept = [];
  at = 'nothing';
  return { done: count, ms: now() - begun, errors: Object.fromEntries(errors) };
}

/**
 * Creates and forgets without a pause, with a collection every so many, and a turn of the event loop after it unless `turns`
 * is false: then nothing can be finalised, and nothing is counted, because what counts would pile up too.
 */
async function churn({ n, every, turns, rows = 3, columns = 1 }) {
  const begun = now();
  const errors = new Map();
  let peak = 0;
  let peakLinear = 0;
  const options = { rows, columns, cleanup: 'auto', invalid: false };
  let done = 0;
  for (; done < n; done++) {
    const i = index++;
    at = `create(${i})`;
    try {
      const made = subject.create(i, options);
      const object = isPromise(made) ? await made : made;
      if (turns) countObject(object);
    } catch (thrown) {
      unexpected(errors, thrown);
    }
    if ((done + 1) % every === 0) {
      gc();
      if (turns) await turn();
      peak = Math.max(peak, heapUsed());
      peakLinear = Math.max(peakLinear, wasmMemory().bytes);
    }
  }
  at = 'nothing';
  return { done, errors: Object.fromEntries(errors), ms: now() - begun, peak, peak_linear: peakLinear, ...measure() };
}

/* ---------------------------------------------------------------- sessions */

/** Readings of a stretch of work. */
const STRETCHES = 10;
/** Places told that allocate most. */
const SITES = 3;

/**
 * Uses what is kept, all of them in turn, for so long; how the heap and the collector did meanwhile. With `every_ms` each is
 * used once in so long, and nothing is collected by force: how often the runtime does so by itself is what is asked.
 */
async function useKept({ ms, every_ms: every = 0 }) {
  const { PerformanceObserver, constants } = require('perf_hooks');
  let collections = 0;
  let major = 0;
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      collections++;
      const kind = entry.detail ? entry.detail.kind : entry.kind;
      if (kind === constants.NODE_PERFORMANCE_GC_MAJOR) major++;
    }
  });
  observer.observe({ entryTypes: ['gc'] });
  const sampling = new Sampling();
  const errors = new Map();
  const readings = [];
  let done = 0;
  let forced = 0;
  let fullest = 0;
  const begun = now();
  for (let stretch = 1; stretch <= STRETCHES; stretch++) {
    const end = begun + (ms * stretch) / STRETCHES;
    while (now() < end) {
      for (const object of kept) {
        done++;
        try {
          if (subject.use !== undefined) await settle(useOne(object));
        } catch (thrown) {
          unexpected(errors, thrown);
        }
      }
      const heap = v8.getHeapStatistics();
      fullest = Math.max(fullest, heap.used_heap_size / heap.heap_size_limit);
      if (every > 0) await rest(Math.max(0, Math.min(every, end - now())));
      else await turn();
    }
    if (every > 0) continue;
    gc();
    forced++;
    readings.push([(now() - begun) / 6e4, v8.getHeapStatistics().used_heap_size]);
  }
  at = 'nothing';
  // Its events come with a turn.
  await rest(LOOK_MS);
  observer.disconnect();
  // The first stretch warms up.
  const counted = readings.slice(1);
  const mean = (column) => counted.reduce((sum, reading) => sum + reading[column], 0) / counted.length;
  const [x, y] = [mean(0), mean(1)];
  const above = counted.reduce((sum, reading) => sum + (reading[0] - x) * (reading[1] - y), 0);
  const below = counted.reduce((sum, reading) => sum + (reading[0] - x) ** 2, 0);
  return {
    done,
    errors: Object.fromEntries(errors),
    growth_per_minute: below > 0 ? above / below : 0,
    collections: Math.max(0, collections - forced),
    major: Math.max(0, major - forced),
    fullest,
    sites: sampling.end(),
  };
}

/** Where objects are allocated, by V8's own sampling. */
class Sampling {
  constructor() {
    const inspector = require('inspector');
    this.session = new inspector.Session();
    this.session.connect();
    this.session.post('HeapProfiler.startSampling', {
      samplingInterval: 512 * 1024,
      includeObjectsCollectedByMajorGC: true,
      includeObjectsCollectedByMinorGC: true,
    });
  }

  /** Those that allocate most. */
  end() {
    const bytes = new Map();
    const visit = (node) => {
      const { functionName, url: script, lineNumber } = node.callFrame;
      if (script && !script.startsWith('node:') && script !== url.pathToFileURL(__filename).href && script !== __filename) {
        const site = `${functionName || 'anonymous'} (${script.split('/').pop()}:${lineNumber + 1})`;
        bytes.set(site, (bytes.get(site) || 0) + node.selfSize);
      }
      node.children.forEach(visit);
    };
    this.session.post('HeapProfiler.stopSampling', (error, result) => error || visit(result.profile.head));
    this.session.disconnect();
    const most = Array.from(bytes).sort((a, b) => b[1] - a[1]);
    return most.slice(0, SITES).map(([site]) => site);
  }
}

/** Budgets far above what the process takes: only what is charged raises alerts. */
const FAR = 64 * 1024 * 1024 * 1024;

async function monitorAlerts({ budget }) {
  const monitor = await settle(subject.monitor({ perSession: budget, totalSystem: FAR, alertThreshold: 80 }));
  const seenSince = { warning: 0, error: 0 };
  monitor.on('alert:warning', () => seenSince.warning++);
  monitor.on('alert:error', () => seenSince.error++);
  const charge = async (share) => {
    seenSince.warning = 0;
    seenSince.error = 0;
    await settle(monitor.charge('budget', Math.round(budget * share)));
    return { ...seenSince };
  };
  if (monitor.register !== undefined) monitor.register('budget');
  const half = await charge(0.5);
  const warned = await charge(0.85);
  const failed = await charge(1.1);
  if (monitor.end !== undefined) monitor.end('budget');
  if (monitor.stop !== undefined) await settle(monitor.stop());
  return { half: half.warning + half.error, warning: warned.warning, error: failed.error };
}

async function monitorStops() {
  const monitor = await settle(subject.monitor({ perSession: FAR, totalSystem: FAR, alertThreshold: 80, interval: 20 }));
  let samples = 0;
  monitor.on('sample', () => samples++);
  await settle(monitor.start());
  await rest(200);
  await settle(monitor.stop());
  const during = samples;
  await rest(200);
  return { during, after: samples - during };
}

/** Values of so many bytes for each session; the most the cache ever held. */
async function cacheFill({ sessions, values, bytes }) {
  const cache = await settle(subject.cache());
  let mostEntries = 0;
  let mostBytes = 0;
  for (let value = 0; value < values; value++) {
    for (let session = 0; session < sessions; session++) {
      cache.set(`session ${session}`, `key ${value}`, Buffer.alloc(bytes, 1).toString('latin1'));
      const { entries, bytes: held } = cache.statistics();
      mostEntries = Math.max(mostEntries, entries);
      mostBytes = Math.max(mostBytes, held);
    }
  }
  return { entries: mostEntries, bytes: mostBytes };
}

/** Names whose forms run into each other where a cache puts them together carelessly. */
async function cacheIsolation() {
  const cache = await settle(subject.cache());
  const pairs = [['a', 'b:c'], ['a:b', 'c'], ['x', 'key'], ['y', 'key'], ['', 'a:key'], ['a', 'key']];
  for (const [session, key] of pairs) cache.set(session, key, `${session}|${key}`);
  const own = pairs.filter(([session, key]) => cache.get(session, key) === `${session}|${key}`).length;
  const foreign = cache.get('y', 'b:c') === undefined ? 1 : 0;
  return { own: own + foreign, asked: pairs.length + 1 };
}

async function poolReuse({ rounds, at_once: atOnce }) {
  const pool = await settle(subject.pool());
  const known = new Set();
  let reused = 0;
  let taken = 0;
  for (let round = 0; round < rounds; round++) {
    const out = [];
    for (let i = 0; i < atOnce; i++) {
      const object = pool.acquire();
      if (known.has(object)) reused++;
      known.add(object);
      taken++;
      out.push(object);
    }
    out.forEach((object) => pool.release(object));
  }
  return { reused: reused / taken };
}

/* ---------------------------------------------------------------- a server around the subject */

let server = null;

/** Where the subject's own server is asked, once it runs. */
let own = null;

/** A request to the subject's own server, whose answer is read to its end. */
function ask(text) {
  return new Promise((resolve, reject) => {
    const request = require('http').request(own, (response) => {
      response.resume();
      response.on('end', () => (response.statusCode < 400 ? resolve() : reject(new Error(`status ${response.statusCode}`))));
      response.on('error', reject);
    });
    request.on('error', reject);
    request.end(text);
  });
}

/** What a request is: CSV in, JSON out. */
async function answer(text) {
  if (own !== null) return ask(text);
  at = 'parse()';
  const parsed = await settle(subject.parse(text));
  let filtered;
  try {
    at = 'filter()';
    filtered = subject.filter === undefined ? parsed : await settle(subject.filter(parsed));
    at = 'aggregate()';
    return JSON.stringify(subject.aggregate === undefined ? null : await settle(subject.aggregate(filtered)));
  } finally {
    // The pattern of a handler in production: whatever happens, what was made is given back.
    if (subject.dispose !== undefined) {
      if (filtered !== undefined && filtered !== parsed) await settle(disposeOne(filtered));
      await settle(disposeOne(parsed));
    }
    at = 'nothing';
  }
}

/** CSV in, parsed, filtered, aggregated, JSON out; with a server of the subject's own that one is loaded instead. */
async function serve({ port }) {
  if (subject.server !== undefined) {
    // The file, and what to ask it for.
    const [file, route = '/'] = subject.server.split(' ');
    process.env.PORT = String(port);
    own = { host: '127.0.0.1', port, path: route, method: 'POST', headers: { 'content-type': 'text/csv' } };
    await import(url.pathToFileURL(path.resolve(path.dirname(path.resolve(modulePath)), file)).href);
    return { port, route };
  }
  const http = require('http');
  server = http.createServer((request, response) => {
    const parts = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => {
      answer(Buffer.concat(parts).toString()).then(
        (json) => response.writeHead(200, { 'content-type': 'application/json' }).end(json),
        (thrown) => {
          if (!printed) print('a request failed, the first to do so:', thrown);
          printed = true;
          response.writeHead(500).end(brief(thrown));
        },
      );
    });
  });
  server.keepAliveTimeout = 0;
  await new Promise((resolve, reject) => {
    server.on('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return { port: server.address().port, route: '/' };
}

/* ---------------------------------------------------------------- the conversation */

const commands = {
  batch,
  release,
  collect,
  churn,
  serve,
  use_kept: useKept,
  monitor_alerts: monitorAlerts,
  monitor_stops: monitorStops,
  cache_fill: cacheFill,
  cache_isolation: cacheIsolation,
  pool_reuse: poolReuse,
  measure: () => measure(),
  rest: ({ ms }) => rest(ms),
  async end() {
    if (server !== null) server.close();
    kept = [];
    if (subject.teardown !== undefined) await subject.teardown();
  },
};

let unread = '';
let busy = false;

async function obey(line) {
  let command;
  try {
    command = JSON.parse(line);
  } catch (_) {
    return;
  }
  if (command.do === 'where') {
    say({ at });
    return;
  }
  if (busy) {
    say({ refused: 'one command at a time' });
    return;
  }
  busy = true;
  let answer;
  try {
    const found = Object.prototype.hasOwnProperty.call(commands, command.do) ? commands[command.do] : null;
    if (found === null) throw new Error(`unknown command ${String(command.do).slice(0, 40)}`);
    answer = { done: (await found(command)) || {} };
  } catch (thrown) {
    if (!(thrown instanceof Planned)) print(thrown);
    answer = { refused: brief(thrown) };
  }
  busy = false;
  say(answer);
}

const socket = net.connect({
  path: socketPath,
  // A buffer of our own for what arrives: by default every read allocates 64 KiB that a collection would then see.
  onread: {
    buffer: Buffer.alloc(4096),
    callback(length, buffer) {
      unread += buffer.toString('utf8', 0, length);
      const lines = unread.split('\n');
      unread = lines.pop();
      lines.forEach((line) => void obey(line));
      return true;
    },
  },
});
// Nobody listens any more: there is nothing left to do.
socket.on('error', () => process.exit(1));
socket.on('close', () => process.exit(1));

function say(message) {
  return new Promise((sent) => socket.write(`${JSON.stringify(message)}\n`, sent));
}

/** Takes what the module exports, by name or as members of its default. */
function take(namespace) {
  const fallback = namespace.default;
  const member = (name) => (fallback !== null && fallback !== undefined ? fallback[name] : undefined);
  const get = (name) => (namespace[name] !== undefined ? namespace[name] : member(name));
  for (const name of ['create', 'use', 'dispose', 'parse', 'filter', 'aggregate', 'memory', 'live', 'monitor', 'cache', 'pool', 'setup', 'teardown']) {
    const found = get(name);
    if (found === undefined) continue;
    if (typeof found !== 'function') throw new TypeError(`exports a \`${name}\` that is no function`);
    subject[name] = found;
  }
  for (const name of ['kind', 'server']) {
    const found = get(name);
    if (found === undefined) continue;
    if (typeof found !== 'string') throw new TypeError(`exports a \`${name}\` that is no string`);
    subject[name] = found;
  }
  if (subject.create === undefined && subject.parse === undefined) {
    const names = Object.keys(namespace).filter((name) => name !== 'default');
    const all = names.concat(fallback !== null && typeof fallback === 'object' ? Object.keys(fallback) : []);
    throw new TypeError(`exports neither \`create\` nor \`parse\`; there are: ${all.slice(0, 20).join(', ') || 'none'}`);
  }
}

/** What a runtime lacks that is too old for the module. */
function missing(thrown) {
  if (hasFinalizers || !/FinalizationRegistry|WeakRef/.test(brief(thrown))) return '';
  return `: Node ${process.versions.node} has neither FinalizationRegistry nor WeakRef, which came with Node 14.6`;
}

async function load() {
  quietCompilers();
  watchMemories();
  let namespace;
  try {
    namespace = await import(url.pathToFileURL(path.resolve(modulePath)).href);
  } catch (thrown) {
    await say({ failed: `cannot be loaded: ${brief(thrown)}${missing(thrown)}`, code: thrown && thrown.code });
    // The runtime shows an error best itself: with its line, and a mark below it.
    throw thrown;
  }
  try {
    take(namespace);
  } catch (thrown) {
    await say({ failed: thrown.message });
    process.exit(1);
  }
  try {
    at = 'setup()';
    if (subject.setup !== undefined) await subject.setup();
    at = 'nothing';
  } catch (thrown) {
    await say({ failed: `failed in its setup(): ${brief(thrown)}` });
    throw thrown;
  }
  await say({
    ready: {
      kind: subject.kind || null,
      has: Object.keys(subject),
      finalizers: hasFinalizers,
      runtime: `${process.release.name === 'node' ? 'Node' : process.release.name} ${process.versions.node}`,
    },
  });
}

// The socket alone would not keep a process alive whose module has nothing to wait for.
setInterval(() => {}, 1 << 30);
load().catch((thrown) => {
  print(thrown);
  process.exit(1);
});
