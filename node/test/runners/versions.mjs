/*
 * The package in other versions of Node: `node versions.mjs FOLDER VERSION…`, installed in FOLDER as `node-VERSION`. Before Node 20
 * leak tests end with an error of a name, while monitors and the reading of snapshots work; from there on all does.
 */

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import '../binary.mjs';

const [folder, ...versions] = process.argv.slice(2);
const project = join(resolve(folder), 'project');
rmSync(project, { recursive: true, force: true });
mkdirSync(join(project, 'node_modules'), { recursive: true });
symlinkSync(resolve(dirname(fileURLToPath(import.meta.url)), '../..'), join(project, 'node_modules', 'plimsoll'));

/** Reads of everything that is to work in each; says what came of it. */
const PROGRAM = `
const { MemoryMonitor, expectCollected, leakTest } = require('plimsoll');
(async () => {
const named = (error) => ({ name: error.name, code: error.code, message: error.message });
const said = {};
// Names of what a CommonJS module exports are found from Node 14.13 on.
if (!/^v14\\./.test(process.version)) said.isSame = (await import('plimsoll')).leakTest === leakTest;
const kept = new Map();
said.leaky = await leakTest((i) => kept.set(i, { i }), { cpuMs: 2000 }).catch(named);
said.clean = await leakTest((i) => ({ i })).then((verdict) => verdict.verdict, named);
for (const runner of ['node', 'mocha']) {
  try {
    await require('plimsoll/' + runner).expect((i) => ({ i })).not.toLeak();
    said[runner] = 'no leak';
  } catch (error) {
    said[runner] = named(error);
  }
}
const monitor = new MemoryMonitor({ totalSystem: '1 GB' }, 20);
const session = { rows: Array.from({ length: 1000 }, (_, id) => ({ id })) };
monitor.register('a', { root: session });
const sampled = new Promise((resolve) => monitor.on('sample', resolve));
monitor.start();
await sampled;
said.session = monitor.measure('a').bytes;
monitor.stop();
said.collected = await expectCollected(() => ({})).catch(named);
said.snapshot = require('v8').writeHeapSnapshot('a.heapsnapshot');
console.log(JSON.stringify(said));
})();
`;
writeFileSync(join(project, 'program.cjs'), PROGRAM);

let failed = 0;
for (const version of versions) {
  const node = join(resolve(folder), 'node_modules', `node-${version}`, 'bin/node');
  const major = Number(version.split('.')[0]);
  try {
    const done = spawnSync(node, ['program.cjs'], { cwd: project, encoding: 'utf8', timeout: 120_000 });
    assert.equal(done.status, 0, done.stderr);
    const said = JSON.parse(done.stdout);
    assert.equal(said.isSame, major < 16 ? undefined : true);
    if (major < 20) {
      for (const refused of [said.leaky, said.clean, said.node, said.mocha]) {
        assert.deepEqual([refused.name, refused.code], ['RuntimeError', 'PLIMSOLL_RUNTIME_UNSUPPORTED'], JSON.stringify(refused));
        assert.match(refused.message, new RegExp(`^leak tests need Node 20 or newer; this is v${major}\\.`));
      }
    } else {
      assert.equal(said.leaky.name, 'LeakError');
      assert.match(said.leaky.message, /^leak: \+.*\nObject held by Map `kept`/);
      assert.deepEqual([said.clean, said.node, said.mocha], ['no leak', 'no leak', 'no leak']);
    }
    assert.ok(said.session > 20_000, `${said.session} B in a session of a thousand objects`);
    assert.equal(said.collected.finalized, true, JSON.stringify(said.collected));
    const table = execFileSync(process.env.PLIMSOLL_BINARY, ['snapshot', 'summary', said.snapshot, '--json'], { cwd: project, encoding: 'utf8', maxBuffer: 1 << 26 });
    assert.ok(JSON.parse(table).rows.length > 10);
    console.log(`node ${version}: ok`);
  } catch (error) {
    failed++;
    console.log(`node ${version}: FAILED\n${error.stack}`);
  }
}
process.exit(failed === 0 ? 0 : 1);
