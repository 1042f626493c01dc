/* The archives as npm installs them: from an empty folder to a verdict, with nothing set that says where the binary is. */

import './binary.mjs';
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

/** Archives that are there already (`cargo xtask dist` names them), else those of this checkout's binary. */
const given = process.env.PLIMSOLL_ARCHIVES?.split(':');
const here = fileURLToPath(new URL('..', import.meta.url));
const isSupported = process.platform === 'linux' && ['x64', 'arm64'].includes(process.arch);
const options = { skip: isSupported ? false : 'the binary needs Linux', timeout: 300_000 };

let place;
let archives;
/** The variables of somebody who has only Node. */
const bare = () => ({ PATH: `${dirname(process.execPath)}:/usr/bin:/bin`, HOME: place, npm_config_cache: join(place, 'cache') });

function run(program, args, env = bare()) {
  return spawnSync(program, args, { cwd: place, env, encoding: 'utf8', timeout: 200_000 });
}

function install(files) {
  for (const left of ['node_modules', 'package-lock.json']) rmSync(join(place, left), { recursive: true, force: true });
  writeFileSync(join(place, 'package.json'), '{ "private": true }\n');
  const done = run('npm', ['install', '--offline', '--no-audit', '--no-fund', '--loglevel=error', ...files]);
  assert.equal(done.status, 0, done.stderr);
}

before(() => {
  if (!isSupported) return;
  place = mkdtempSync(join(tmpdir(), 'plimsoll-install-'));
  if (given !== undefined) {
    archives = given;
    return;
  }
  // With its symbols a debug build is four times as large.
  const stripped = join(place, 'plimsoll');
  execFileSync('strip', ['-o', stripped, process.env.PLIMSOLL_BINARY]);
  const packed = execFileSync(process.execPath, [join(here, 'pack.mjs'), join(place, 'archives'), `${process.arch}=${stripped}`], { encoding: 'utf8' });
  archives = packed.trim().split('\n');
});

after(() => place && rmSync(place, { recursive: true, force: true }));

test('two archives give leak tests and a command line', options, () => {
  assert.deepEqual(archives.map((file) => basename(file).replace(/-\d.*/, '')), [`plimsoll-linux-${process.arch}`, 'plimsoll']);
  install(archives);
  const { version } = JSON.parse(readFileSync(join(here, 'package.json'), 'utf8'));
  const said = run('npx', ['--no-install', 'plimsoll', '--version']);
  assert.equal(said.stdout.trim(), `plimsoll ${version}`, said.stderr);
  // What the binary says and how it ends is what the command says and how it ends.
  const wrong = run('npx', ['--no-install', 'plimsoll', 'chek']);
  assert.equal(wrong.status, 2, wrong.stdout);
  assert.match(wrong.stderr, /chek/);

  writeFileSync(join(place, 'kept.cjs'), 'const kept = new Map();\nexports.operation = (i) => kept.set(i, { i });\nexports.clean = (i) => ({ i });\n');
  writeFileSync(
    join(place, 'test.mjs'),
    `import { check } from 'plimsoll';
     const module = new URL('./kept.cjs', import.meta.url);
     const leaky = await check({ module });
     const clean = await check({ module, export: 'clean' });
     console.log(JSON.stringify([leaky.verdict, leaky.culprits[0]?.holder, clean.verdict]));`,
  );
  const judged = run(process.execPath, ['test.mjs']);
  assert.deepEqual(JSON.parse(judged.stdout || '[]'), ['leak', 'Map `kept` (kept.cjs)', 'no leak'], judged.stderr);
});

test('a signal to the command is one to the binary, and its end is that of both', options, async () => {
  const { spawn } = await import('node:child_process');
  const child = spawn(process.execPath, ['node_modules/plimsoll/dist/bin.js', 'monitor', '-i', '100', '--', process.execPath, '-e', 'console.log("up"); setInterval(() => {}, 1000)'], {
    cwd: place,
    env: bare(),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  await new Promise((up) => child.stdout.on('data', (text) => String(text).includes('up') && up()));
  const ended = new Promise((end) => child.on('exit', (code, signal) => end([code, signal])));
  child.kill('SIGTERM');
  // 128 + 15: what `monitor` in front of a command makes of the command's death.
  assert.deepEqual(await ended, [143, null]);
});

test('without the package of the platform the command says what is missing', options, () => {
  install(archives.slice(-1));
  const said = run('npx', ['--no-install', 'plimsoll', '--version']);
  assert.equal(said.status, 2, said.stdout);
  assert.match(said.stderr, /^error: the plimsoll binary was not found: linux-\w+ needs the package @plimsoll\/linux-/m);
});
