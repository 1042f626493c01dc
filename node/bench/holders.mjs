/*
 * How often the holder of a planted leak is named first, each in a process of its own.
 *
 *   node bench/holders.mjs [REPETITIONS] [CASE,…]
 */

import { createRequire } from 'node:module';

import '../test/binary.mjs';
import { check } from '../dist/index.mjs';

const { CASES } = createRequire(import.meta.url)('./planted.cjs');
const [repetitions = '1', chosen = ''] = process.argv.slice(2);
const wanted = chosen === '' ? CASES : CASES.filter(({ name }) => chosen.split(',').includes(name));

const module = new URL('./planted.cjs', import.meta.url);
const families = new Map();
let cpu = 0;
for (const { family, name, expected } of wanted) {
  const score = families.get(family) ?? { found: 0, first: 0, runs: 0 };
  families.set(family, score);
  for (let repetition = 0; repetition < Number(repetitions); repetition++) {
    const verdict = await check({ module, export: name }, { isolate: 'child' });
    const [culprit] = verdict.culprits;
    const said = culprit === undefined ? '' : `${culprit.kind} held by ${culprit.holder} · ${culprit.pattern}`;
    const isFirst = expected.test(said);
    score.runs++;
    score.found += verdict.verdict === 'leak';
    score.first += isFirst;
    cpu += verdict.cpuMs;
    const mark = verdict.verdict !== 'leak' ? verdict.verdict.toUpperCase() : isFirst ? 'ok' : 'OTHER';
    console.log(`${mark.padEnd(12)} ${family.padEnd(9)} ${name.padEnd(16)} ${said || verdict.gaps.join('; ') || verdict.reason}`);
  }
}
const total = { found: 0, first: 0, runs: 0 };
for (const [family, score] of families) {
  console.log(`${family.padEnd(9)} leaks found ${score.found}/${score.runs}, holder first ${score.first}/${score.runs}`);
  for (const key of Object.keys(total)) total[key] += score[key];
}
const share = ((100 * total.first) / total.runs).toFixed(1);
console.log(`all       leaks found ${total.found}/${total.runs}, holder first ${total.first}/${total.runs} (${share} %), ${(cpu / total.runs / 1000).toFixed(2)} s CPU each`);
