'use strict';
/*
 * Planted leaks, for `holders.mjs`: each keeps something of every call in one place, and says what that place is called. Around
 * them stands what grows and is no culprit: a cache that fills, a ring, scratch that is thrown away.
 */

const { EventEmitter } = require('node:events');
const { Writable } = require('node:stream');
const { setInterval, setTimeout } = globalThis;

const ring = new Array(64);
const recent = new Map();

/** What any program does besides. */
function bystanders(i) {
  ring[i % ring.length] = { i };
  recent.set(i % 200, { i });
  return Array.from({ length: 4 }, (_, n) => ({ n }));
}

const CASES = (exports.CASES = []);

/** A leak: its family, its operation, and what the culprit at the first rank must say. */
function plant(family, name, expected, leak) {
  CASES.push({ family, name, expected });
  exports[name] = (i) => {
    bystanders(i);
    return leak(i);
  };
}

class Ticket {
  constructor(i) {
    this.number = i;
    this.lines = [i, i + 1, i + 2];
  }
}

// Listeners.
const bus = new EventEmitter().setMaxListeners(0);
plant('listener', 'emitter', /listener|bus|EventEmitter/i, (i) => void bus.on('order', () => i));
const target = new EventTarget();
plant('listener', 'eventTarget', /listener|target|EventTarget/i, (i) => target.addEventListener('order', () => i));
const shutdown = new AbortController();
plant('listener', 'abortSignal', /listener|shutdown|AbortSignal/i, (i) => shutdown.signal.addEventListener('abort', () => i));
process.setMaxListeners(0);
plant('listener', 'processExit', /listener|process/i, (i) => void process.on('exit', () => i));
const sink = new Writable({ write: (chunk, encoding, done) => done() }).setMaxListeners(0);
plant('listener', 'stream', /listener|sink|Writable/i, (i) => void sink.on('drain', () => i));
class Room extends EventEmitter {}
const room = new Room().setMaxListeners(0);
plant('listener', 'subclass', /listener|room|Room/i, (i) => void room.once('closed', () => new Ticket(i)));

// Timers.
plant('timer', 'interval', /timer|Timeout|setInterval/i, (i) => void setInterval(() => i, 1e8).unref());
plant('timer', 'timeout', /timer|Timeout|setTimeout/i, (i) => void setTimeout(() => i, 1e8).unref());
plant('timer', 'timeoutOfObject', /timer|Timeout|setTimeout/i, (i) => {
  const ticket = new Ticket(i);
  setTimeout(() => ticket.number, 1e8).unref();
});
const pending = new Map();
plant('timer', 'timersInMap', /timer|Timeout|pending/i, (i) => void pending.set(i, setTimeout(() => pending.delete(i), 1e8).unref()));

// Maps, sets, arrays, objects.
const registry = new Map();
plant('map', 'map', /registry/, (i) => void registry.set(i, new Ticket(i)));
const seen = new Set();
plant('map', 'set', /seen/, (i) => void seen.add(new Ticket(i)));
const history = [];
plant('map', 'array', /history/, (i) => void history.push(new Ticket(i)));
const byName = {};
plant('map', 'object', /byName/, (i) => void (byName[`name ${i}`] = new Ticket(i)));
const shelves = new Map([['a', new Map()], ['b', new Map()]]);
plant('map', 'nestedMap', /shelves/, (i) => void shelves.get(i % 2 ? 'a' : 'b').set(i, new Ticket(i)));
class Desk {
  #open = new Map();
  static all = new Map();
  take(i) {
    this.#open.set(i, new Ticket(i));
  }
}
const desk = new Desk();
plant('map', 'privateField', /#open|Desk/, (i) => desk.take(i));
plant('map', 'staticField', /all|Desk/, (i) => void Desk.all.set(i, new Ticket(i)));
const labels = new Map();
plant('map', 'strings', /labels/, (i) => void labels.set(`label ${i}`, `value of ${i}`.repeat(5)));
let chain = null;
plant('map', 'linkedList', /chain/, (i) => void (chain = { next: chain, ticket: new Ticket(i) }));
const owners = new WeakMap();
const owner = {};
plant('map', 'insideWeakMap', /owners|owner|Ticket/, (i) => {
  if (!owners.has(owner)) owners.set(owner, []);
  owners.get(owner).push(new Ticket(i));
});

// Closures.
const callbacks = [];
plant('closure', 'callbacks', /callbacks/, (i) => {
  const ticket = new Ticket(i);
  callbacks.push(() => ticket.number);
});
const undo = [];
plant('closure', 'undo', /undo/, (i) => void undo.push(((n) => () => n + i)(i)));
let previous = () => 0;
plant('closure', 'chainedClosures', /previous/, (i) => {
  const before = previous;
  previous = () => before;
  previous.number = i;
});
const waiting = [];
plant('closure', 'promises', /waiting/, (i) => void waiting.push(new Promise((resolve) => resolve).then(() => i)));
const forever = new Promise(() => {});
plant('closure', 'reactions', /forever|Promise/, (i) => void forever.then(() => new Ticket(i)));
function counter() {
  const state = [];
  return { add: (i) => state.push(new Ticket(i)), size: () => state.length };
}
const counting = counter();
plant('closure', 'closureState', /state|counting/, (i) => void counting.add(i));
const generators = [];
plant('closure', 'generators', /generators/, (i) => {
  const generator = (function* () {
    yield new Ticket(i);
    yield i;
  })();
  generator.next();
  generators.push(generator);
});

// Finalisers.
const finalisers = new FinalizationRegistry(() => {});
const anchors = [];
plant('finaliser', 'heldValue', /anchors|finalisers|FinalizationRegistry/, (i) => {
  const key = { i };
  anchors.push(key);
  finalisers.register(key, new Ticket(i));
});
const selfish = new FinalizationRegistry(() => {});
plant('finaliser', 'heldTarget', /selfish|FinalizationRegistry/, (i) => {
  const ticket = new Ticket(i);
  // The held value refers to the target, which can therefore never go.
  selfish.register(ticket, { ticket });
});
const tokens = new FinalizationRegistry(() => {});
const long = {};
plant('finaliser', 'oneTarget', /tokens|FinalizationRegistry/, (i) => tokens.register(long, new Ticket(i)));
const byRegistry = new FinalizationRegistry((close) => close());
plant('finaliser', 'closingCallback', /byRegistry|FinalizationRegistry/, (i) => {
  const ticket = new Ticket(i);
  byRegistry.register(ticket, () => ticket.number);
});
