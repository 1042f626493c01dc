// The heap snapshot worker of Chrome DevTools in plain Node: the rival of the bench, the oracle of the tests.
// Usage: node devtools.mjs classes|digest|columns FILE
//   classes  prints the largest classes, as a person would look at them
//   digest   prints what crates/heap/tests/it/digest.rs prints: a hash of each column, and every class row
//   columns  prints `id dominator retained shallow distance` of each node, to find a mismatch
import { build } from 'esbuild';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createRequire } from 'node:module';
import { MessageChannel } from 'node:worker_threads';
import { pathToFileURL } from 'node:url';

const [mode, file] = process.argv.slice(2);
if (!file) throw new Error('usage: node devtools.mjs classes|digest|columns FILE');

const front = path.dirname(createRequire(import.meta.url).resolve('chrome-devtools-frontend/package.json'));
const bundle = path.join(os.tmpdir(), `plimsoll-devtools-worker-${process.getuid()}-${path.basename(front)}.mjs`);
if (!fs.existsSync(bundle)) {
  await build({
    stdin: {
      contents: `export { HeapSnapshotLoader } from './HeapSnapshotLoader.ts'; export { SecondaryInitManager } from './HeapSnapshot.ts';`,
      resolveDir: path.join(front, 'front_end/entrypoints/heap_snapshot_worker'),
    },
    // A generated file that the package does not carry and the worker does not need.
    plugins: [{
      name: 'locales',
      setup(build) {
        build.onResolve({ filter: /\/locales\.js$/ }, () => ({ path: 'locales', namespace: 'generated' }));
        build.onLoad({ filter: /.*/, namespace: 'generated' }, () => ({
          contents: `export const LOCALES = [], BUNDLED_LOCALES = [], DEFAULT_LOCALE = 'en-US', REMOTE_FETCH_PATTERN = '', LOCAL_FETCH_PATTERN = '';`,
        }));
      },
    }],
    bundle: true, format: 'esm', platform: 'node', outfile: bundle, logLevel: 'error',
  });
}
// Node 20 has neither.
Promise.withResolvers ??= function () {
  const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
  return parts;
};
const { HeapSnapshotLoader, SecondaryInitManager } = await import(pathToFileURL(bundle));
console.warn = () => {};

const loader = new HeapSnapshotLoader({ sendEvent() {} });
for await (const chunk of fs.createReadStream(file, { encoding: 'utf8', highWaterMark: 1 << 22 })) {
  loader.write(chunk);
  await new Promise(setImmediate);
}
loader.close();
await loader.parsingComplete;
const { port1, port2 } = new MessageChannel();
new SecondaryInitManager(port2);
const snapshot = await loader.buildSnapshot(port1);
port1.close();

// The rows before they are keyed by text: two rows of one text would overwrite one another there.
function rows() {
  const aggregates = snapshot.buildAggregates();
  snapshot.calculateClassesRetainedSize(aggregates);
  return [...aggregates].map(([key, row]) => ({
    key: typeof key === 'number' ? `,${snapshot.strings[key]}` : key,
    ...row,
  }));
}

const node = snapshot.createNode(0);
function* nodes() {
  for (let ordinal = 0; ordinal < snapshot.nodeCount; ordinal++) {
    node.nodeIndex = ordinal * snapshot.nodeFieldCount;
    yield ordinal;
  }
}

class Hash {
  value = 0x811c9dc5;
  word(word) { this.value = Math.imul(this.value ^ word, 0x01000193); }
  number(number) { this.word(number | 0); this.word(Math.floor(number / 2 ** 32) | 0); }
  text(text) { for (const byte of Buffer.from(text.toWellFormed())) this.word(byte); this.word(0x100); }
  toString() { return (this.value >>> 0).toString(16).padStart(8, '0'); }
}

if (mode === 'classes') {
  const sorted = rows().sort((a, b) => b.maxRet - a.maxRet);
  for (const row of sorted.slice(0, 20)) console.log(row.count, row.self, row.maxRet, row.name);
} else if (mode === 'columns') {
  const lines = [];
  for (const ordinal of nodes()) {
    lines.push(`${node.id()} ${snapshot.dominatorsTree[ordinal]} ${node.retainedSize()} ${node.selfSize()} ${snapshot.nodeDistances[ordinal]} ${node.type()} ${JSON.stringify(node.name())}`);
    if (lines.length === 1 << 16) fs.writeSync(1, lines.splice(0).join('\n') + '\n');
  }
  fs.writeSync(1, lines.join('\n') + '\n');
} else {
  const names = ['dominators', 'retained', 'shallow', 'distances', 'names', 'detached'];
  const hash = Object.fromEntries(names.map((name) => [name, new Hash()]));
  for (const ordinal of nodes()) {
    hash.dominators.number(snapshot.dominatorsTree[ordinal]);
    hash.retained.number(node.retainedSize());
    hash.shallow.number(node.selfSize());
    hash.distances.word(snapshot.nodeDistances[ordinal]);
    hash.names.text(node.name());
    hash.detached.word(node.detachedness() === 2 ? 1 : 0);
  }
  const out = [`nodes ${snapshot.nodeCount}`, `total ${snapshot.totalSize}`];
  const { native, v8heap } = snapshot.getStatistics();
  out.push(`statistics ${native.total} ${native.typedArrays} ${v8heap.code} ${v8heap.strings} ${v8heap.jsArrays} ${v8heap.system}`);
  const texts = snapshot.getDuplicateStrings();
  const sum = (key) => texts.reduce((sum, text) => sum + text[key], 0);
  out.push(`duplicates ${texts.length} ${sum('count')} ${sum('totalSelfSize')}`);
  for (const name of names) out.push(`${name} ${hash[name]}`);
  const lines = rows().map((row) => `${row.count}\t${row.self}\t${row.maxRet}\t${row.distance}\t${JSON.stringify(row.key.toWellFormed())}`);
  // In the order of bytes, as Rust sorts.
  lines.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  fs.writeSync(1, [...out, ...lines, ''].join('\n'));
}
process.exit(0);
