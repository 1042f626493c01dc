/*
 * A subject of the suites: ledgers, each with cells on the heap of the runtime and a block of WebAssembly memory, freed by
 * `dispose` or by a finaliser. `MUTANT` gives it one bug, each of them one that turns exactly one check red:
 *
 *   rapid      what is closed before it was ever read stays in the list of open ones
 *   block      closing forgets to give the block back: linear memory grows, the heap does not
 *   invalid    what is refused has been registered before
 *   archive    large ones that are closed by hand are archived for ever
 *   headings   headings of wide ones are cached by the ledger and not by the heading
 *   readings   after 20,000 readings of small ones a log of them is no longer cut
 *   totals     every total is remembered
 *   single     after 100,000 ledgers of a single column they are kept
 *   pairs      of ledgers of two columns 19 of 20 stay referred to by a listener
 */

import { EventEmitter } from 'node:events';

const MUTANT = process.env.MUTANT ?? '';
const PAGE = 65536;
/** Readings after which the log is cut, and the mutant's is not. */
const READINGS = 20_000;
const SINGLES = 100_000;

/* A heap in linear memory: blocks of whole 64 bytes, a list of free ones for each size. */

const memory_ = new WebAssembly.Memory({ initial: 1 });
const free = new Map();
let top = 64;

function allocate(bytes) {
  const size = (bytes + 63) & ~63;
  const block = free.get(size)?.pop();
  if (block !== undefined) return { at: block, size };
  const at = top;
  top += size;
  const missing = Math.ceil((top - memory_.buffer.byteLength) / PAGE);
  if (missing > 0) memory_.grow(missing);
  return { at, size };
}

function give(block) {
  if (MUTANT === 'block') return;
  const list = free.get(block.size);
  if (list) list.push(block.at);
  else free.set(block.size, [block.at]);
}

let open = 0;
const finalisers = new FinalizationRegistry((block) => {
  open--;
  give(block);
});

const unread = [];
const registered = new Map();
const archive = [];
const headings = new Map();
const log = [];
const totals = [];
const singles = [];
const events = new EventEmitter();
events.setMaxListeners(0);
let readings = 0;
let singleCount = 0;

class Ledger {
  constructor(rows, columns, cleanup) {
    this.rows = rows;
    this.columns = columns;
    this.cells = Array.from({ length: rows }, (_, row) => ({ row, values: new Array(columns).fill(row) }));
    this.block = allocate(rows * columns * 8);
    this.wasRead = false;
    open++;
    if (cleanup === 'auto') finalisers.register(this, this.block, this);
  }

  close() {
    if (this.block === null) return;
    finalisers.unregister(this);
    open--;
    give(this.block);
    this.block = null;
    if (MUTANT === 'rapid' && !this.wasRead) unread.push({ closed: this, note: `never read ${unread.length}` });
    if (MUTANT === 'archive' && this.rows >= 1000) archive.push(this.cells);
  }
}

export const kind = 'Ledger';

export function create(i, { rows, columns, cleanup, invalid }) {
  if (MUTANT === 'invalid') registered.set(i, { rows, columns, since: new Array(1000).fill(i) });
  if (invalid) throw new RangeError(`ledger ${i} has a row without columns`);
  registered.delete(i);
  const ledger = new Ledger(rows, columns, cleanup);
  if (columns >= 100) {
    const names = Array.from({ length: columns }, (_, column) => `column ${column}`);
    headings.set(MUTANT === 'headings' ? ledger.block.at + i : columns, names);
  }
  if (columns === 1 && ++singleCount > SINGLES && MUTANT === 'single') singles.push({ i, cells: ledger.cells });
  if (columns === 2 && MUTANT === 'pairs' && i % 20 !== 0) events.on('total', () => ledger.rows);
  return ledger;
}

export function use(ledger) {
  ledger.wasRead = true;
  let sum = 0;
  for (const { values } of ledger.cells) for (const value of values) sum += value;
  if (ledger.rows <= 2) {
    readings++;
    log.push({ sum, at: readings });
    if (log.length > 16 && (MUTANT !== 'readings' || readings < READINGS)) log.length = 0;
  }
  return sum;
}

export const dispose = (ledger) => ledger.close();

/** `name,age,score` a line, the first of them the heading. */
export function parse(text) {
  const lines = text.trim().split('\n').slice(1);
  const ledger = new Ledger(lines.length, 3, 'manual');
  ledger.cells = lines.map((line) => ({ values: line.split(',') }));
  return ledger;
}

export function filter(ledger) {
  ledger.wasRead = true;
  const kept = ledger.cells.filter(({ values }) => Number(values[1]) >= 30);
  const filtered = new Ledger(kept.length, 3, 'manual');
  filtered.cells = kept;
  return filtered;
}

export function aggregate(ledger) {
  ledger.wasRead = true;
  const ages = ledger.cells.map(({ values }) => Number(values[1]));
  const total = { rows: ages.length, average: ages.reduce((a, b) => a + b, 0) / Math.max(ages.length, 1) };
  if (MUTANT === 'totals') totals.push({ ...total, of: new Array(64).fill(total.rows) });
  return total;
}

export const memory = () => memory_;
export const live = () => open;
