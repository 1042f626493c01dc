/* The package as others get it: what is in it, how it is imported, how it finds its binary. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import * as imported from 'plimsoll';

const require = createRequire(import.meta.url);
const folder = fileURLToPath(new URL('..', import.meta.url));
const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));

test('it is small, and brings and runs nothing', () => {
  const packed = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  const [{ unpackedSize, files }] = JSON.parse(packed);
  // `pack.mjs` puts the licences beside it, and leaves out how it is built.
  const licences = ['LICENSE-MIT', 'LICENSE-APACHE'].reduce((sum, name) => sum + statSync(join(folder, '..', name)).size, 0);
  const building = JSON.stringify([manifest.scripts, manifest.devDependencies]).length;
  const size = unpackedSize + licences - building;
  assert.ok(size <= 150_000, `${size} bytes unpacked`);
  for (const { path } of files) assert.match(path, /^(dist\/[\w-]+\.(m?js|d\.m?ts)|package\.json|README\.md|LICENSE.*)$/);
  assert.equal(manifest.dependencies, undefined);
  for (const script of ['preinstall', 'install', 'postinstall']) assert.equal(manifest.scripts[script], undefined);
});

test('every entry of the exports map exists, with types', () => {
  const packed = new Set();
  const collect = (entry) => (typeof entry === 'string' ? packed.add(entry) : Object.values(entry).forEach(collect));
  collect(manifest.exports);
  for (const path of packed) readFileSync(join(folder, path));
  assert.ok(packed.size > 10);
});

test('import and require give the same classes', () => {
  const required = require('plimsoll');
  assert.deepEqual(Object.keys(required).sort(), Object.keys(imported).filter((name) => !['default', 'module.exports', '__esModule'].includes(name)).sort());
  for (const name of Object.keys(required)) assert.equal(imported[name], required[name], name);
});

test('importing it loads little and leaves nothing running', () => {
  const program = `
    require('plimsoll');
    console.log(JSON.stringify({ modules: Object.keys(require.cache).length, running: process.getActiveResourcesInfo() }));`;
  const { modules, running } = JSON.parse(execFileSync(process.execPath, ['-e', program], { cwd: folder, encoding: 'utf8' }));
  // What an import costs is a figure of `bench`; each module is a file that is read and compiled.
  assert.ok(modules <= 24, `${modules} modules`);
  assert.deepEqual(running, []);
});

test('a missing binary has a name, an expectation and a way out', () => {
  const { findBinary } = imported;
  const place = mkdtempSync(join(tmpdir(), 'plimsoll-test-'));
  try {
    assert.throws(() => findBinary({ PLIMSOLL_BINARY: '/nowhere' }), { name: 'BinaryError', code: 'PLIMSOLL_BINARY_INVALID' });
    assert.throws(() => findBinary({ PATH: place }), (error) => {
      assert.equal(error.code, 'PLIMSOLL_BINARY_MISSING');
      assert.match(error.message, new RegExp(`${process.platform}-${process.arch} needs the package @plimsoll/`));
      assert.match(error.message, /npm install --no-save @plimsoll\/\S+@\d+\.\d+\.\d+, or set PLIMSOLL_BINARY$/);
      return true;
    });
    const program = join(place, 'plimsoll');
    writeFileSync(program, '#!/bin/sh\n');
    chmodSync(program, 0o755);
    assert.equal(findBinary({ PLIMSOLL_BINARY: program }), program, 'what is named is taken, script or not');
    assert.throws(() => findBinary({ PATH: place }), { code: 'PLIMSOLL_BINARY_MISSING' }, 'a shim on PATH may be our own');
    writeFileSync(program, 'no script');
    assert.equal(findBinary({ PATH: place }), program);
  } finally {
    rmSync(place, { recursive: true });
  }
});
