/*
 * Packs what is published: the package itself and, for each platform with a binary, the package that carries it.
 *
 *   node pack.mjs FOLDER [ARCHITECTURE=BINARY …]      architectures as Node names them: x64, arm64
 *
 * Prints the archives, one a line. `dist/` must have been built.
 */

import { execFileSync } from 'node:child_process';
import { chmodSync, closeSync, copyFileSync, cpSync, mkdirSync, openSync, readFileSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const manifest = JSON.parse(readFileSync(join(here, 'package.json'), 'utf8'));
const LICENCES = ['LICENSE-MIT', 'LICENSE-APACHE'];
/** Machines as an ELF image names them. */
const MACHINES = { x64: 62, arm64: 183 };

const [folder, ...binaries] = process.argv.slice(2);
if (folder === undefined) throw new Error('usage: node pack.mjs FOLDER [ARCHITECTURE=BINARY …]');
const archives = resolve(folder);
mkdirSync(archives, { recursive: true });

/** An archive of what `fill` puts into a folder beside the licences. */
function pack(fill) {
  const staging = join(archives, 'package');
  rmSync(staging, { recursive: true, force: true });
  mkdirSync(staging);
  for (const licence of LICENCES) copyFileSync(join(here, '..', licence), join(staging, licence));
  fill(staging);
  const said = execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', archives], {
    cwd: staging,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  rmSync(staging, { recursive: true });
  // npm 8 tells the name of a scoped package's archive as it would be before the slash is replaced.
  console.log(join(archives, JSON.parse(said)[0].filename.replace(/^@/, '').replace('/', '-')));
}

function machine(binary) {
  const head = Buffer.alloc(20);
  const descriptor = openSync(binary, 'r');
  const read = readSync(descriptor, head, 0, head.length, 0);
  closeSync(descriptor);
  return read === head.length && head.toString('latin1', 0, 4) === '\x7fELF' ? head.readUInt16LE(18) : null;
}

for (const named of binaries) {
  const [, architecture, binary] = /^(\w+)=(.+)$/.exec(named) ?? [];
  const name = `@plimsoll/linux-${architecture}`;
  if (!(name in manifest.optionalDependencies)) throw new Error(`${named}: plimsoll has no package ${name}`);
  if (machine(binary) !== MACHINES[architecture]) throw new Error(`${binary} is no program for ${architecture}`);
  pack((staging) => {
    mkdirSync(join(staging, 'bin'));
    copyFileSync(binary, join(staging, 'bin/plimsoll'));
    chmodSync(join(staging, 'bin/plimsoll'), 0o755);
    const { version, license } = manifest;
    const own = { name, version, description: `The plimsoll binary for Linux on ${architecture}`, license, os: ['linux'], cpu: [architecture], files: ['bin'] };
    writeFileSync(join(staging, 'package.json'), `${JSON.stringify({ ...own, preferUnplugged: true }, null, 2)}\n`);
  });
}

pack((staging) => {
  for (const path of ['README.md', 'dist']) cpSync(join(here, path), join(staging, path), { recursive: true });
  // Who installs it builds nothing.
  const { scripts: _scripts, devDependencies: _devDependencies, ...published } = manifest;
  writeFileSync(join(staging, 'package.json'), `${JSON.stringify(published, null, 2)}\n`);
});
