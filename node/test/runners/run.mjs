/*
 * Runs `cases.cjs` under every runner installed in the folder given: `node run.mjs FOLDER [RUNNER…]`. The tests lie beside the
 * runners' `node_modules`, as a user's would.
 */

import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import '../binary.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const [folder, ...chosen] = process.argv.slice(2);
const project = join(resolve(folder), 'project');
const bin = (name) => join(resolve(folder), 'node_modules', '.bin', name);
/** Of a test, in wall time: the machine may be loaded. */
const TIMEOUT = '180000';

const RUNNERS = {
  node: ['node', ['--test', 'node.cjs']],
  mocha: [bin('mocha'), ['--timeout', TIMEOUT, '--exit', 'mocha.cjs']],
  jest: [bin('jest'), ['--testTimeout', TIMEOUT, '--runInBand', '--rootDir', '.', '--testMatch', '**/jest.spec.js']],
  vitest: [bin('vitest'), ['run', '--testTimeout', TIMEOUT, '--pool', 'forks', 'vitest.spec.mjs']],
  'vitest threads': [bin('vitest'), ['run', '--testTimeout', TIMEOUT, '--pool', 'threads', 'vitest.spec.mjs']],
  bun: [bin('bun'), ['test', './bun.spec.mjs']],
};

rmSync(project, { recursive: true, force: true });
mkdirSync(join(project, 'node_modules'), { recursive: true });
symlinkSync(resolve(here, '../..'), join(project, 'node_modules', 'plimsoll'));
for (const name of readdirSync(here)) copyFileSync(join(here, name), join(project, name));
copyFileSync(resolve(here, '../../bench/operations.cjs'), join(project, 'operations.cjs'));
copyFileSync(resolve(here, '../operations/sessions.cjs'), join(project, 'sessions.cjs'));

let failed = 0;
for (const [name, [program, args]] of Object.entries(RUNNERS)) {
  if (chosen.length > 0 && !chosen.includes(name)) continue;
  if (program !== 'node' && !existsSync(program)) throw new Error(`${program} is not installed`);
  console.log(`--- ${name}`);
  const env = { ...process.env, CI: '1', NO_COLOR: '1' };
  delete env.NODE_TEST_CONTEXT;
  const { status } = spawnSync(program, args, { cwd: project, env, stdio: 'inherit', timeout: 1_200_000 });
  console.log(`${name}: ${status === 0 ? 'ok' : `FAILED with status ${status}`}`);
  failed += status === 0 ? 0 : 1;
}
process.exit(failed === 0 ? 0 : 1);
