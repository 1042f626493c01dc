// Data frames as the subject of a suite.
//
// LEAK=listener, global, cycle or closure keeps every frame in that way; without it nothing leaks.

import { DataFrame, liveTables, memory as linearMemory } from './dataframe.mjs';
import { leakNamed } from './leaks.mjs';

const leak = leakNamed(process.env.LEAK);

/** The class to count. */
export const kind = 'DataFrame';

/** Texts that are no table, and what is wrong with them. */
const INVALID = ['', 'a,b\n1', 'a,a\n1,2', 'a,\n1,2', 'a,b\n1,"2'];

/** CSV of one text column and numeric ones, by shape. Suites ask for a handful of shapes. */
const csvByShape = new Map();

function csvOf(rows, columns) {
  const shape = `${rows} x ${columns}`;
  if (!csvByShape.has(shape)) {
    const line = (cell) => Array.from({ length: columns }, (_, column) => cell(column)).join(',');
    const header = line((column) => (column === 0 ? 'city' : `value${column}`));
    const body = Array.from({ length: rows }, (_, row) =>
      line((column) => (column === 0 ? ['Bergen', 'Gdansk', 'Lagos', 'Quito'][row % 4] : (row * 37 + column * 11) % 1000)),
    );
    csvByShape.set(shape, [header, ...body].join('\n'));
  }
  return csvByShape.get(shape);
}

export function create(i, { rows = 2, columns = 3, cleanup = 'auto', invalid = false } = {}) {
  const text = invalid ? INVALID[i % INVALID.length] : csvOf(rows, columns);
  const frame = DataFrame.fromCSV(text, { autoCleanup: cleanup === 'auto' });
  leak(frame);
  return frame;
}

/** What programs do with a frame: a part of it, and figures of that. */
export function use(frame) {
  const part = filter(frame);
  try {
    return aggregate(part);
  } finally {
    part.free();
  }
}

export function dispose(frame) {
  frame.free();
}

/** The service that requests are sent to, and what of it. */
export const server = 'server.mjs /reports';

/** What a request is made of there. */
export function parse(text) {
  const frame = DataFrame.fromCSV(text);
  leak(frame);
  return frame;
}

/** The rows that are not below the mean of the first numeric column. */
export function filter(frame) {
  const [numeric] = Object.entries(frame.describe());
  if (numeric === undefined) throw new RangeError('no column is numeric');
  const [name, { mean }] = numeric;
  return frame.filter(name, (value) => value >= mean);
}

export function aggregate(frame) {
  return { rows: frame.shape.rows, columns: frame.describe() };
}

export function memory() {
  return linearMemory;
}

/** How many tables nobody has given back. */
export function live() {
  return liveTables().count;
}
