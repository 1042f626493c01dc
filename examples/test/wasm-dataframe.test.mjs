// Data frames in linear memory: what they compute, and that nothing is left of them but where a leak keeps it.

import assert from 'node:assert/strict';
import test from 'node:test';
import v8 from 'node:v8';
import vm from 'node:vm';

import { start } from './subjects.mjs';
import { DataFrame, liveTables, memory } from '../wasm-dataframe/dataframe.mjs';
import { leaks } from '../wasm-dataframe/leaks.mjs';
import * as subject from '../wasm-dataframe/subject.mjs';

const PEOPLE = '\uFEFFname, age ,"city"\r\n"Ann, ""the first""",41,Quito\r\nBob,,Lagos\r\nCleo,17,Quito\r\n';

v8.setFlagsFromString('--expose-gc');
const gc = vm.runInNewContext('gc');

/** Collects until nothing changes; finalisers run in the turn after a collection. */
async function collect() {
  for (let before; before !== liveTables().count;) {
    before = liveTables().count;
    for (let pass = 0; pass < 3; pass += 1) {
      await new Promise((resolve) => setImmediate(resolve));
      gc();
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test('CSV is read, filtered and aggregated', () => {
  const people = DataFrame.fromCSV(PEOPLE, { autoCleanup: false });
  assert.deepEqual(people.shape, { rows: 3, columns: 3 });
  assert.deepEqual(people.column('name'), ['Ann, "the first"', 'Bob', 'Cleo']);
  assert.deepEqual([...people.column('age')], [41, NaN, 17]);
  assert.deepEqual(people.describe(), { age: { count: 2, mean: 29, min: 17, max: 41 } });
  assert.deepEqual(people.aggregate('city', 'age'), {
    Quito: { count: 2, mean: 29, min: 17, max: 41 },
    Lagos: { count: 0 },
  });
  const adults = people.filter('age', (age) => age >= 18, { autoCleanup: false });
  assert.deepEqual(adults.column('name'), ['Ann, "the first"']);
  assert.throws(() => people.column('height'), /no column 'height'; there are: name, age, city/);
  const nobody = people.filter('age', () => false, { autoCleanup: false });
  assert.deepEqual([nobody.shape.rows, nobody.describe(), nobody.column('city')], [0, { age: { count: 0 } }, []]);
  for (const frame of [people, adults, nobody]) frame.free();
  const empty = DataFrame.fromCSV('a,b\n');
  assert.deepEqual(empty.shape, { rows: 0, columns: 2 });
  empty.free();
});

test('what is no table is said with its line', () => {
  for (const [csv, message] of [
    ['', 'line 1: there is no header'],
    ['a,\n1,2', 'line 1: column 2 has no name'],
    ['a,a\n1,2', "line 1: two columns are called 'a'"],
    ['a,b\n"1\n2",3\n4', 'line 4: 1 cells where the header has 2'],
    ['a,b\n1,"2', 'line 2: a quote is not closed'],
  ]) {
    assert.throws(() => DataFrame.fromCSV(csv), { name: 'CsvError', message }, csv);
  }
  assert.throws(() => DataFrame.fromCSV(Buffer.from('a')), TypeError);
});

test('a frame is given back once, and is of no use then', () => {
  const before = liveTables().count;
  const frame = subject.create(0, { cleanup: 'manual' });
  assert.equal(liveTables().count, before + 1);
  subject.use(frame);
  subject.dispose(frame);
  subject.dispose(frame);
  assert.equal(liveTables().count, before);
  assert.throws(() => frame.describe(), /was freed/);
});

test('the collector gives back what nobody did, but for manual frames', async () => {
  await collect();
  const before = liveTables().count;
  for (let i = 0; i < 200; i += 1) subject.create(i, { cleanup: 'auto' });
  for (let i = 0; i < 10; i += 1) subject.create(i, { cleanup: 'manual' });
  assert.equal(liveTables().count, before + 210);
  await collect();
  assert.equal(liveTables().count, before + 10);
});

test('linear memory is used again', () => {
  const work = () => {
    for (let i = 0; i < 200; i += 1) {
      const frame = subject.create(i, { rows: 100, columns: 10, cleanup: 'manual' });
      subject.use(frame);
      subject.dispose(frame);
    }
  };
  work();
  const settled = memory.buffer.byteLength;
  work();
  assert.equal(memory.buffer.byteLength, settled);
});

test('each leak keeps every frame', async () => {
  for (const [name, leak] of Object.entries(leaks)) {
    await collect();
    const before = liveTables().count;
    for (let i = 0; i < 50; i += 1) leak(subject.create(i));
    await collect();
    assert.equal(liveTables().count, before + 50, name);
  }
});

test('the server answers uploads and refuses what is none', { timeout: 120_000 }, async (t) => {
  const { port } = await start(t, ['node', 'wasm-dataframe/server.mjs']);
  const url = `http://127.0.0.1:${port}/reports`;
  const upload = async (body) => {
    const response = await fetch(url, { method: 'POST', body });
    return [response.status, await response.json()];
  };
  assert.deepEqual(await upload(PEOPLE), [200, { rows: 1, columns: { age: { count: 1, mean: 41, min: 41, max: 41 } } }]);
  assert.deepEqual(await upload('a,b\n1'), [400, { error: 'line 2: 1 cells where the header has 2' }]);
  assert.deepEqual(await upload('a\nx'), [400, { error: 'no column is numeric' }]);
  assert.equal((await upload('a\n'.repeat(5 * 1024 * 1024)))[0], 413);
  assert.equal((await fetch(url)).status, 405);
  const status = await (await fetch(`http://127.0.0.1:${port}/healthz`)).json();
  assert.equal(status.frames, 0);
});
