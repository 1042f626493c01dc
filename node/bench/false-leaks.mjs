/*
 * How often leak tests call a clean function a leak inside the test runners: `node bench/false-leaks.mjs [REPETITIONS]`, after
 * `cargo xtask runners` has installed them. Four functions in each of four runners, in slices of two repetitions whose order is
 * shuffled, so that what the machine does meanwhile falls to all alike.
 */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SLICE = 2;
const repetitions = Number(process.argv[2] ?? 20);
const here = (path) => fileURLToPath(new URL(path, import.meta.url));

const slices = ['node', 'mocha', 'jest', 'vitest'].flatMap((runner) => Array.from({ length: Math.ceil(repetitions / SLICE) }, () => ({ runner, at: Math.random() })));
slices.sort((a, b) => a.at - b.at);
const folder = mkdtempSync(join(tmpdir(), 'plimsoll-false-leaks-'));
const verdicts = [];
for (const { runner } of slices) {
  const file = join(folder, 'verdicts');
  const env = { ...process.env, PLIMSOLL_VERDICTS: file, PLIMSOLL_REPETITIONS: String(SLICE) };
  const { status, stdout, stderr } = spawnSync(process.execPath, [here('../test/runners/run.mjs'), here('../../target/runners'), runner], { env, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${runner} failed\n${stdout}\n${stderr}`);
  for (const line of readFileSync(file, 'utf8').trim().split('\n')) verdicts.push({ runner, ...JSON.parse(line) });
  rmSync(file);
  console.error(`${verdicts.length} runs, ${verdicts.filter(({ verdict }) => verdict === 'leak').length} leaks`);
}
rmSync(folder, { recursive: true });

const middle = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];
for (const name of ['noop', 'json', 'waits', 'http']) {
  for (const runner of ['node', 'mocha', 'jest', 'vitest']) {
    const own = verdicts.filter((verdict) => verdict.name === name && verdict.runner === runner);
    const count = (verdict) => own.filter((each) => each.verdict === verdict).length;
    console.log(`${name.padEnd(6)} ${runner.padEnd(7)} no leak ${count('no leak')}, inconclusive ${count('inconclusive')}, leak ${count('leak')} of ${own.length}; CPU ms ${middle(own.map(({ cpuMs }) => cpuMs))}`);
    for (const reason of new Set(own.filter(({ verdict }) => verdict !== 'no leak').map(({ reason }) => reason))) console.log(`       ${reason}`);
  }
}
const leaks = verdicts.filter(({ verdict }) => verdict === 'leak').length;
console.log(`${leaks} false leaks in ${verdicts.length} runs`);
process.exitCode = leaks > 0 ? 1 : 0;
