/* Places and programs that are against a measurement: each gets a verdict, or an error with a name. */

import './binary.mjs';
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const folder = fileURLToPath(new URL('..', import.meta.url));

/** What a program says, as JSON. */
function said(program, ...flags) {
  const done = spawnSync(process.execPath, [...flags, '-e', program], { cwd: folder, encoding: 'utf8', timeout: 60_000 });
  assert.equal(done.status, 0, done.stderr);
  return { ...JSON.parse(done.stdout), stderr: done.stderr };
}

/** Runs `work` in a folder with these files, which is gone afterwards. */
async function inFolder(files, work) {
  const place = mkdtempSync(join(tmpdir(), 'plimsoll-faults-'));
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(place, name), text);
    return await work(place);
  } finally {
    rmSync(place, { recursive: true });
  }
}

test('where no collector can be called nothing is a leak, and nothing is none', () => {
  // As a policy of the process does it: the flag is taken, and nothing comes of it.
  const { verdict, reason, strict, collected, stderr } = said(`
    require('v8').setFlagsFromString = () => undefined;
    const { check, leakTest, expectCollected } = require('plimsoll');
    const named = (error) => error.name + ': ' + error.message;
    (async () => {
      const { verdict, reason } = await check(() => ({ a: 1 }));
      await leakTest(() => ({ a: 1 }));
      const strict = await leakTest(() => ({ a: 1 }), { strict: true }).catch(named);
      const collected = await expectCollected(() => ({})).catch(named);
      console.log(JSON.stringify({ verdict, reason, strict, collected }));
    })();`);
  assert.equal(verdict, 'inconclusive');
  assert.equal(reason, 'this node does not let its collector be called');
  assert.match(stderr, /PlimsollWarning: inconclusive: this node does not let its collector be called/);
  assert.match(strict, /^LeakError: inconclusive: this node does not let/);
  assert.equal(collected, 'Error: this node does not let its collector be called');
});

test('a process of a cluster measures itself', () => {
  const found = said(`
    const cluster = require('cluster');
    if (cluster.isPrimary) {
      cluster.setupPrimary({ execArgv: [], exec: ${JSON.stringify(fileURLToPath(new URL('./operations/clustered.cjs', import.meta.url)))} });
      cluster.fork().on('message', (verdicts) => console.log(JSON.stringify({ verdicts })));
    }`);
  assert.deepEqual(found.verdicts, ['leak', 'no leak']);
});

test('a module that exports nothing says so', () =>
  inFolder({ 'empty.mjs': '', 'empty.cjs': '', 'other.mjs': 'export const operation = 5;\n' }, async (place) => {
    const { check } = require('plimsoll');
    for (const name of ['empty.mjs', 'empty.cjs', 'other.mjs']) {
      await assert.rejects(check({ module: join(place, name) }), {
        name: 'TypeError',
        message: new RegExp(`${name} exports neither \`operation\` nor a default export that is a function; functions there: none$`),
      });
    }
  }));

test('a place in TypeScript is one of its source and not of what was compiled', () =>
  inFolder(
    {
      'kept.ts': 'interface Basket {\n  readonly id: number;\n}\n\ntype Filled = Basket & { readonly items: number[] };\n\nconst baskets = new Map<number, Filled>();\n\nexport function operation(id: number): void {\n  baskets.set(id, { id, items: [id] });\n}\n',
      'tsconfig.json': '{ "compilerOptions": { "module": "node16", "target": "es2022", "sourceMap": true, "outDir": "out", "types": [] }, "files": ["kept.ts"] }\n',
    },
    async (place) => {
      execFileSync(process.execPath, [join(folder, 'node_modules/typescript/bin/tsc'), '-p', place]);
      const { check, describe } = require('plimsoll');
      const verdict = await check({ module: join(place, 'out/kept.js'), export: 'operation' });
      assert.equal(verdict.verdict, 'leak', describe(verdict));
      const [culprit] = verdict.culprits;
      assert.match(culprit.holder, /^Map `baskets`/);
      // Line 7 declares the map, line 10 adds to it; the compiled file has six lines.
      assert.match(culprit.place, /kept\.ts:(7|10)$/);
    },
  ));
