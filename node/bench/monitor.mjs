/* What a monitor of 15 sessions costs: `node node/bench/monitor.mjs`. CPU of a process with it beside the same without, idle both. */

import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('..', import.meta.url));
const SECONDS = 20;

/** Sessions of 100 kB to 1.5 MB, as objects, texts and buffers. */
const program = (how, intervalMs) => `
  const { MemoryMonitor } = require('plimsoll');
  const session = (i) => ({
    rows: Array.from({ length: 1000 * (i % 5 + 1) }, (_, id) => ({ id, name: 'name ' + i + ' ' + id, at: [i, id] })),
    texts: new Map(Array.from({ length: 100 }, (_, id) => [id, 'x'.repeat(1000) + id])),
    buffer: Buffer.alloc(10_000 * i),
  });
  const sessions = Array.from({ length: 15 }, (_, i) => session(i));
  const monitor = new MemoryMonitor({}, ${intervalMs});
  sessions.forEach((root, i) => ${how === 'walked' ? "monitor.register('session ' + i, { root })" : "monitor.charge('session ' + i, 1e5 * i, 'cache')"});
  ${how === 'none' ? 'const timer = setInterval(() => undefined, 1e9);' : 'monitor.start(); const timer = setInterval(() => undefined, 1e9);'}
  setTimeout(() => {
    const begun = process.cpuUsage();
    ${how === 'none' || intervalMs < 10_000 ? '' : 'for (let i = 0; i < 20; i++) monitor.sample();'}
    setTimeout(() => {
      const { user, system } = process.cpuUsage(begun);
      console.log((user + system) / 1e6);
      clearInterval(timer);
      monitor.stop();
    }, ${intervalMs < 10_000 ? SECONDS * 1000 : 100});
  }, 2000);`;

const cpu = (how, intervalMs) => Number(execFileSync(process.execPath, ['-e', program(how, intervalMs)], { cwd: folder, encoding: 'utf8' }));

const idle = cpu('none', 1000);
console.log(`idle            ${((100 * idle) / SECONDS).toFixed(3)} % CPU`);
for (const how of ['charged', 'walked']) {
  const percent = (100 * (cpu(how, 1000) - idle)) / SECONDS;
  console.log(`${how}, 1 s     ${percent.toFixed(3)} % CPU of 1 allowed`);
}
for (const how of ['charged', 'walked']) {
  // Twenty samples at once, each a minute's worth.
  const percent = (100 * cpu(how, 60_000)) / (20 * 60);
  console.log(`${how}, 60 s    ${percent.toFixed(3)} % CPU of 0.1 allowed`);
}
