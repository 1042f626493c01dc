/*
 * Repeats `operation(i)` of a module in rounds: the program that `plimsoll check --module` starts in place of a service, in
 * Node, Deno or Bun. Its arguments are the socket where it is told how many operations to do, and the module.
 *
 * The conversation has a socket of its own, so that standard output stays the module's. Commands are lines of words,
 * answers lines of JSON:
 *
 *   (loaded)  → {"ready":true}, or {"failed":"what it does instead","code":"the error's code"} and the end
 *   run N C   → {"done":N,"errors":{"kind":count}} after exactly N operations, C of them in flight at most
 *   where     → {"at":I}, the oldest operation in flight
 *   end       → {"ended":null}, or what `teardown()` threw
 *
 * What the process keeps is what the module keeps: nothing here grows with the operations.
 */

import { connect } from 'node:net';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

/** Synchronous operations let the event loop turn at least so often: finalisers, timers, and the probe live by it. */
const TURN_MS = 50;
/** Kinds of errors that are told apart; messages with ids in them are one kind. */
const KINDS = 16;
const KIND_LENGTH = 160;

// Taken before the module can replace them (fake timers do).
const { setImmediate, setInterval } = globalThis;
const now = performance.now.bind(performance);
const print = console.error.bind(console);

// The module sees the arguments of a program that was started by itself.
const [path, module] = process.argv.splice(1, 3, process.argv[3]).slice(1);

const subject = {};
/** Index of the next operation: unique over all rounds. */
let next = 0;
let round = null;
let turnedAt = 0;
let printed = false;
let ending = false;

/** The first line of an error. */
function brief(thrown) {
  try {
    const text = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
    return text.split('\n')[0].slice(0, KIND_LENGTH);
  } catch {
    return 'something that cannot be shown';
  }
}

const kindOf = (thrown) => brief(thrown).replace(/\d+/g, '#');

function count(errors, thrown, index) {
  let kind = kindOf(thrown);
  if (!errors.has(kind) && errors.size >= KINDS) kind = 'other errors';
  errors.set(kind, (errors.get(kind) ?? 0) + 1);
  if (printed) return;
  printed = true;
  print(`operation ${index} failed, the first to do so:`, thrown);
}

/** One lane of a round: operations one after another, until all of the round are begun. */
async function work(round, lane) {
  const { operation } = subject;
  while (round.left > 0) {
    round.left--;
    const index = next++;
    round.at[lane] = index;
    try {
      const result = operation(index);
      // Awaiting what is no promise would cost every synchronous operation a turn of the queue.
      if ((typeof result === 'object' || typeof result === 'function') && result !== null && typeof result.then === 'function') {
        await result;
      }
    } catch (thrown) {
      count(round.errors, thrown, index);
    }
    if (now() - turnedAt >= TURN_MS) {
      await new Promise((resolve) => setImmediate(resolve));
      turnedAt = now();
    }
  }
  round.at[lane] = Infinity;
}

async function run(operations, concurrency) {
  const lanes = Math.min(operations, concurrency);
  round = { left: operations, at: new Float64Array(lanes).fill(Infinity), errors: new Map() };
  turnedAt = now();
  round.over = Promise.all(Array.from({ length: lanes }, (_, lane) => work(round, lane)));
  await round.over;
  say({ done: operations, errors: Object.fromEntries(round.errors) });
  round = null;
}

async function end() {
  ending = true;
  if (round !== null) {
    round.left = 0;
    await round.over;
  }
  let ended = null;
  try {
    await subject.teardown?.();
  } catch (thrown) {
    ended = brief(thrown);
  }
  say({ ended });
  // Whoever told us to end also ends this process: it is looked at once more before.
  setInterval(() => {}, 1 << 30);
}

function obey(line) {
  const [verb, ...numbers] = line.split(' ');
  if (verb === 'run') void run(...numbers.map(Number));
  else if (verb === 'where') say({ at: round === null ? null : Math.min(...round.at) });
  else if (verb === 'end') void end();
}

/** Says it, and waits until it is on its way. */
function say(message) {
  return new Promise((sent) => socket.write(`${JSON.stringify(message)}\n`, sent));
}

/** Takes the functions from what the module exports, by name or as its default. */
function take(namespace) {
  const fallback = namespace.default;
  const get = (name) => namespace[name] ?? fallback?.[name];
  const operation = get('operation') ?? fallback;
  if (typeof operation !== 'function') {
    const names = Object.keys({ ...namespace, ...fallback }).filter((name) => typeof get(name) === 'function');
    throw new TypeError(
      `exports neither \`operation\` nor a default that is a function; functions there: ${names.join(', ') || 'none'}`,
    );
  }
  Object.assign(subject, { operation });
  for (const name of ['setup', 'teardown']) {
    const found = get(name);
    if (found !== undefined && typeof found !== 'function') throw new TypeError(`exports a \`${name}\` that is no function`);
    if (found !== undefined) subject[name] = found;
  }
}

// A buffer of our own for what arrives: by default every read allocates 64 KiB that a collection would then see.
let unread = '';
const socket = connect({
  path,
  onread: {
    buffer: Buffer.alloc(256),
    callback(length, buffer) {
      unread += buffer.toString('latin1', 0, length);
      const lines = unread.split('\n');
      unread = lines.pop();
      lines.forEach(obey);
      return true;
    },
  },
});
// Nobody listens any more: there is nothing left to do.
socket.on('error', () => process.exit(1));
socket.on('close', () => ending || process.exit(1));

let namespace;
try {
  namespace = await import(pathToFileURL(resolve(module)).href);
} catch (thrown) {
  await say({ failed: `cannot be loaded: ${brief(thrown)}`, code: thrown?.code });
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
  await subject.setup?.();
} catch (thrown) {
  await say({ failed: `failed in its setup(): ${brief(thrown)}` });
  throw thrown;
}
await say({ ready: true });
