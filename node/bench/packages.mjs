/*
 * Whether leak tests leave clean operations of popular packages alone: each is measured in a process of its own.
 *
 *   node bench/packages.mjs [REPETITIONS] [OPERATION,…]
 *
 * Installs them from npm into `target/packages` first. Prints what alarms, what stays open, and how often of how many.
 */

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

import '../test/binary.mjs';
import { check, describe } from '../dist/index.mjs';

const { PACKAGES, ...operations } = createRequire(import.meta.url)('./packages.cjs');
const [repetitions = '1', chosen = Object.keys(operations).join(',')] = process.argv.slice(2);

const folder = fileURLToPath(new URL('../../target/packages', import.meta.url));
const manifest = JSON.stringify({ private: true, wanted: PACKAGES });
const stamp = `${folder}/.wanted`;
if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== manifest) {
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${folder}/package.json`, '{ "private": true }\n');
  execFileSync('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', '--ignore-scripts', ...PACKAGES], { cwd: folder, stdio: 'inherit' });
  writeFileSync(stamp, manifest);
}

const module = new URL('./packages.cjs', import.meta.url);
const outcomes = { leak: 0, inconclusive: 0, 'no leak': 0, failed: 0 };
let cpu = 0;
for (const name of chosen.split(',')) {
  for (let repetition = 0; repetition < Number(repetitions); repetition++) {
    let said;
    try {
      // CPU bounds it, and not how busy the machine is.
      const verdict = await check({ module, export: name }, { isolate: 'child', timeoutMs: 60_000 });
      outcomes[verdict.verdict]++;
      cpu += verdict.cpuMs;
      if (verdict.verdict === 'no leak') continue;
      said = describe(verdict);
    } catch (error) {
      outcomes.failed++;
      said = String(error);
    }
    console.log(`${name}: ${said.replaceAll('\n', '\n  ')}`);
  }
}
const runs = Object.values(outcomes).reduce((sum, count) => sum + count, 0);
console.log(`${chosen.split(',').length} operations, ${runs} runs: ${JSON.stringify(outcomes)}, ${(cpu / 1000 / Math.max(runs, 1)).toFixed(2)} s CPU each`);
process.exitCode = outcomes.leak + outcomes.failed > 0 ? 1 : 0;
