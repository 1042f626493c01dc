// Times the engine and its rivals: CPU seconds (user + system) and peak resident memory, interleaved, medians.
// Usage: node run.mjs DIR [REPEATS]. DIR holds what make.mjs wrote: medium.heapsnapshot (0.9 M nodes),
// large.heapsnapshot (5.9 M) and triple-1..3.heapsnapshot (1.6 M, three of one process). Needs /usr/bin/time.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

const [folder, repeats = '5'] = process.argv.slice(2);
if (!folder) throw new Error('usage: node run.mjs DIR [REPEATS]');
const here = path.dirname(new URL(import.meta.url).pathname);
const input = (name) => path.join(folder, `${name}.heapsnapshot`);
const ours = (name) => path.join(here, `../../target/release/examples/${name}`);
const triple = [1, 2, 3].map((n) => input(`triple-${n}`));
spawnSync('cargo', ['build', '--release', '-p', 'plimsoll-heap', '--examples'], { stdio: 'inherit' });

const works = [
  ['medium, full', 'plimsoll', [ours('analyze'), 'full', input('medium')], { cpu: 1.0, mb: 100 }],
  ['medium, full', 'DevTools worker', ['node', path.join(here, 'devtools.mjs'), 'classes', input('medium')]],
  ['medium, full', 'MemLab', [path.join(here, 'node_modules/.bin/memlab'), 'analyze', 'object-size', '--snapshot', input('medium')]],
  ['large, full', 'plimsoll', [ours('analyze'), 'full', input('large')], { cpu: 7, mb: 600 }],
  ['large, summary', 'plimsoll', [ours('analyze'), 'summary', input('large')], { cpu: 3 }],
  ['triple, culprit', 'plimsoll', [ours('culprit'), '100,100', ...triple], { cpu: 2, mb: 200 }],
].filter(([, , command]) => command.filter((word) => word.endsWith('.heapsnapshot')).every((file) => fs.existsSync(file)));

const results = works.map(() => []);
for (let round = 0; round < Number(repeats); round++) {
  works.forEach(([work, tool, command], index) => {
    const { status, stderr } = spawnSync('/usr/bin/time', ['-f', '%U %S %M', ...command], { encoding: 'utf8', stdio: ['ignore', 'ignore', 'pipe'], maxBuffer: 1 << 28 });
    if (status !== 0) throw new Error(`${tool}, ${work}: ${stderr}`);
    const [user, system, kib] = stderr.trim().split('\n').at(-1).split(' ').map(Number);
    results[index].push({ cpu: user + system, mb: (kib * 1024) / 1e6 });
  });
}
const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
let failed = false;
for (const [index, [work, tool, , must = {}]] of works.entries()) {
  const cpu = median(results[index].map((run) => run.cpu));
  const mb = median(results[index].map((run) => run.mb));
  const kept = cpu <= (must.cpu ?? Infinity) && mb <= (must.mb ?? Infinity);
  failed ||= !kept;
  const asked = must.cpu ? `must ${must.cpu} s${must.mb ? ` / ${must.mb} MB` : ''}: ${kept ? 'kept' : 'NOT KEPT'}` : '';
  console.log(`${work.padEnd(16)} ${tool.padEnd(16)} ${cpu.toFixed(2).padStart(7)} s ${mb.toFixed(0).padStart(6)} MB  ${asked}`);
}
process.exit(failed ? 1 : 0);
