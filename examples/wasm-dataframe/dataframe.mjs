// Data frames whose columns live in WebAssembly's linear memory, as Arrow tables of parquet-wasm.
//
//   const people = DataFrame.fromCSV('name,age\nann,41\nbob,17');
//   people.filter('age', (age) => age >= 18).describe();   // { age: { count: 1, mean: 41, ... } }
//
// A collector does not see linear memory. Whoever makes a frame with `autoCleanup: false` gives it back with `free()`; else a
// FinalizationRegistry does so some time after the frame was collected, and `free()` does it at once. Linear memory never
// shrinks: what is given back is used again.

import { Table, wasmMemory } from 'parquet-wasm';
import { addressesOf, numbersAt, stringsAt, toIpcStream } from './arrow.mjs';
import { parseCsv } from './csv.mjs';

/** The linear memory that holds all tables. */
export const memory = wasmMemory();

// A frame knows its table by number only, as a handle of a native library would be: what is held here lives until it is
// released, whether or not anybody still has the frame.
const tables = new Map();
let lastHandle = 0;

function release(handle) {
  const held = tables.get(handle);
  if (held === undefined) return;
  tables.delete(handle);
  held.table.free();
}

/** When a table is given back whose frame was collected: at once. A program that minds pauses may put it off. */
export const cleanup = { schedule: (giveBack) => giveBack() };

const finalizer = new FinalizationRegistry((handle) => cleanup.schedule(() => release(handle)));

/** How many tables are in linear memory, and their bytes there. */
export function liveTables() {
  let bytes = 0;
  for (const held of tables.values()) bytes += held.bytes;
  return { count: tables.size, bytes };
}

/** There was no room in linear memory, which ends at 4 GiB. What was there is intact. */
export class LinearMemoryError extends Error {
  name = 'LinearMemoryError';
}

function intoLinearMemory(stream) {
  try {
    return Table.fromIPCStream(stream);
  } catch (cause) {
    // An allocation that fails is a trap without a word.
    if (!(cause instanceof WebAssembly.RuntimeError)) throw cause;
    const { count, bytes } = liveTables();
    const message = `no room for ${stream.length} bytes in linear memory: ${count} tables take ${bytes} of ${memory.buffer.byteLength}`;
    throw new LinearMemoryError(message, { cause });
  }
}

export class DataFrame {
  #handle;
  #rows;
  /** Whether each column is text, by name. */
  #isText;

  /** Columns by name: Float64Arrays, or arrays of strings; all of one length. */
  constructor(columns, { autoCleanup = true } = {}) {
    const [first] = columns.values();
    if (first === undefined) throw new RangeError('a frame has at least one column');
    this.#rows = first.length;
    for (const [name, { length }] of columns) {
      if (length !== this.#rows) throw new RangeError(`column '${name}' has ${length} rows, not ${this.#rows}`);
    }
    this.#isText = new Map([...columns].map(([name, values]) => [name, Array.isArray(values)]));
    const stream = toIpcStream(columns, this.#rows);
    const table = intoLinearMemory(stream);
    this.#handle = lastHandle += 1;
    tables.set(this.#handle, { table, bytes: stream.length, addresses: undefined });
    if (autoCleanup) finalizer.register(this, this.#handle, this);
  }

  /** A frame of CSV with a header; columns of numbers only are numeric. */
  static fromCSV(text, options) {
    return new DataFrame(parseCsv(text), options);
  }

  get shape() {
    return { rows: this.#rows, columns: this.#isText.size };
  }

  get names() {
    return [...this.#isText.keys()];
  }

  /** Gives the table back now. A second call does nothing. */
  free() {
    finalizer.unregister(this);
    release(this.#handle);
  }

  /** The values of a column: a Float64Array or an array of strings, copied out of linear memory. */
  column(name) {
    return this.#look(name).slice();
  }

  /** A new frame of the rows whose value in column `name` passes `keep`. */
  filter(name, keep, options) {
    const rows = [];
    for (const [row, value] of this.#look(name).entries()) if (keep(value)) rows.push(row);
    const columns = this.names.map((other) => {
      const values = this.#look(other);
      return [other, this.#isText.get(other) ? rows.map((row) => values[row]) : Float64Array.from(rows, (row) => values[row])];
    });
    return new DataFrame(new Map(columns), options);
  }

  /** Count, mean, least and greatest of each numeric column, NaN left out. */
  describe() {
    const numeric = this.names.filter((name) => !this.#isText.get(name));
    return Object.fromEntries(numeric.map((name) => [name, summary(this.#look(name))]));
  }

  /** The summary of column `of` for each value of column `by`. */
  aggregate(by, of) {
    if (this.#isText.get(of)) throw new TypeError(`column '${of}' is text`);
    const values = this.#look(of);
    const groups = new Map();
    for (const [row, key] of this.#look(by).entries()) {
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(values[row]);
    }
    return Object.fromEntries([...groups].map(([key, group]) => [key, summary(group)]));
  }

  /** A column: numbers in place, to be used up before anything else is put into linear memory, or strings. */
  #look(name) {
    const held = tables.get(this.#handle);
    if (held === undefined) throw new Error('this frame was freed');
    const position = this.names.indexOf(name);
    if (position < 0) throw new RangeError(`there is no column '${name}'; there are: ${this.names.join(', ')}`);
    held.addresses ??= addressesOf(held.table, memory);
    return (this.#isText.get(name) ? stringsAt : numbersAt)(memory, held.addresses[position], this.#rows);
  }
}

function summary(values) {
  let [count, sum, min, max] = [0, 0, Infinity, -Infinity];
  for (const value of values) {
    if (Number.isNaN(value)) continue;
    count += 1;
    sum += value;
    min = Math.min(min, value);
    max = Math.max(max, value);
  }
  return count === 0 ? { count } : { count, mean: sum / count, min, max };
}
