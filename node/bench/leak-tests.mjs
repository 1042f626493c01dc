/*
 * The figures of leak tests, each operation in a clean process: false leaks and medians of clean operations, bytes of planted
 * leaks, one object in a hundred calls, CPU. `node bench/leak-tests.mjs [REPETITIONS] [OPERATION,…]`.
 */

import '../test/binary.mjs';
import { check } from '../dist/index.mjs';

const module = new URL('./operations.cjs', import.meta.url);
const PLANTED = { bytes32: 32, bytes56: 56, bytes152: 152, hundredth: 0.56 };
const [repetitions = '5', chosen = 'noop,json,waits,http,bytes32,bytes56,bytes152,hundredth'] = process.argv.slice(2);

const middle = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

for (const name of chosen.split(',')) {
  const outcomes = {};
  const medians = [];
  const cpu = [];
  const reasons = new Set();
  for (let repetition = 0; repetition < Number(repetitions); repetition++) {
    const verdict = await check({ module, export: name }, { isolate: 'child', explain: false, timeoutMs: 60_000 });
    outcomes[verdict.verdict] = (outcomes[verdict.verdict] ?? 0) + 1;
    medians.push(verdict.bytesPerOperation);
    cpu.push(verdict.cpuMs);
    if (verdict.verdict === 'inconclusive') reasons.add(verdict.reason);
  }
  const planted = PLANTED[name];
  const off = planted === undefined ? '' : `, planted ${planted}, most off ${Math.max(...medians.map((m) => Math.abs(m - planted))).toFixed(3)}`;
  console.log(
    `${name.padEnd(10)} ${JSON.stringify(outcomes)} median B/call ${middle(medians).toFixed(3)} (${Math.min(...medians).toFixed(3)} … ${Math.max(...medians).toFixed(3)})${off}, ` +
      `CPU ms ${middle(cpu)} (most ${Math.max(...cpu)})`,
  );
  for (const reason of reasons) console.log(`           inconclusive: ${reason}`);
}
