// Runs one program of programs.cjs and writes the four snapshots that name a culprit.
// Usage: node subject.cjs PROGRAM DIR OPERATIONS
const path = require('node:path');
const v8 = require('node:v8');
const [name, folder, operations] = process.argv.slice(2);
const operation = require('./programs.cjs')[name]();

async function run(count) {
  for (let i = 0; i < count; i++) await operation(run.done++);
  await new Promise((resolve) => setImmediate(resolve));
}
run.done = 0;

(async () => {
  const n = Number(operations);
  await run(n);
  for (const [snapshot, count] of [['a', n], ['b', 2 * n], ['c', 0], ['d', 0]]) {
    v8.writeHeapSnapshot(path.join(folder, `${snapshot}.heapsnapshot`));
    await run(count);
  }
  process.exit(0);
})();
