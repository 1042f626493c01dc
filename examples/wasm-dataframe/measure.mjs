// What frames cost, without Plimsoll: live tables, heap and linear memory before and after, collected.
//
//   node examples/wasm-dataframe/measure.mjs [--frames 20000] [--rows 2] [--columns 3]
//
// A process of its own for the clean subject and for each leak, with frames left to the collector and with frames that are
// disposed of. Standard library only.

import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    frames: { type: 'string', default: '20000' },
    rows: { type: 'string', default: '2' },
    columns: { type: 'string', default: '3' },
    cleanup: { type: 'string' },
  },
});
const [frames, rows, columns] = [values.frames, values.rows, values.columns].map(Number);

if (values.cleanup === undefined) {
  console.log(`${frames} frames of ${rows} x ${columns} after as many to warm up`);
  console.log('leak      clean-up   tables left   heap B/frame   linear memory, MiB    CPU us/frame');
  for (const leak of ['', 'listener', 'global', 'cycle', 'closure']) {
    for (const cleanup of ['auto', 'manual']) {
      const more = Object.entries(values).flatMap(([name, value]) => [`--${name}`, value]);
      process.stdout.write(
        execFileSync(process.execPath, ['--expose-gc', fileURLToPath(import.meta.url), ...more, '--cleanup', cleanup], {
          env: { ...process.env, LEAK: leak },
        }),
      );
    }
  }
} else {
  const { create, dispose, memory } = await import('./subject.mjs');
  const { liveTables } = await import('./dataframe.mjs');
  const turn = () => new Promise((resolve) => setImmediate(resolve));

  const work = async () => {
    for (let i = 0; i < frames; i += 1) {
      const frame = create(i, { rows, columns, cleanup: values.cleanup });
      if (values.cleanup === 'manual') dispose(frame);
      // Finalisers run between turns of the event loop only.
      if (i % 1000 === 999) {
        globalThis.gc();
        await turn();
      }
    }
  };
  const read = async () => {
    for (let pass = 0; pass < 5; pass += 1) {
      await turn();
      globalThis.gc();
    }
    await turn();
    return { heap: process.memoryUsage().heapUsed, linear: memory().buffer.byteLength, tables: liveTables().count };
  };

  await work();
  const before = await read();
  const begun = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(begun);
  const after = await read();
  const mib = (bytes) => (bytes / 2 ** 20).toFixed(2);
  console.log(
    (process.env.LEAK || 'none').padEnd(10) + values.cleanup.padEnd(8),
    String(after.tables - before.tables).padStart(13),
    ((after.heap - before.heap) / frames).toFixed(1).padStart(14),
    `${mib(before.linear)} -> ${mib(after.linear)}`.padStart(20),
    ((user + system) / frames).toFixed(0).padStart(15),
  );
}
