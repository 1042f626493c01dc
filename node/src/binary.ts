/**
 * Where the `plimsoll` binary is: `PLIMSOLL_BINARY`, the package of this platform, `PATH`. Nothing is downloaded, and no
 * script runs when this package is installed.
 */

import fs = require('fs');
import path = require('path');

import { BinaryError } from './errors';

/** Platforms with a package of their own; the CLI needs Linux. */
const PLATFORMS: { readonly [platform: string]: string } = {
  'linux-x64': '@plimsoll/linux-x64',
  'linux-arm64': '@plimsoll/linux-arm64',
};

const VERSION: string = (require('../package.json') as { version: string }).version;

/**
 * The path of the binary.
 *
 * @throws {BinaryError} if there is none.
 */
export function findBinary(environment: NodeJS.ProcessEnv = process.env): string {
  const named = environment['PLIMSOLL_BINARY'];
  if (named) {
    if (isProgram(named)) return named;
    throw new BinaryError('PLIMSOLL_BINARY_INVALID', `PLIMSOLL_BINARY names ${named}, which is no program`);
  }
  const platform = `${process.platform}-${process.arch}`;
  const expected = PLATFORMS[platform];
  if (expected !== undefined) {
    try {
      const installed = require.resolve(`${expected}/bin/plimsoll`);
      if (isProgram(installed)) return installed;
    } catch {
      // Not installed: PATH is asked next.
    }
  }
  for (const folder of (environment['PATH'] ?? '').split(path.delimiter)) {
    const candidate = path.join(folder || '.', 'plimsoll');
    if (isProgram(candidate) && !isScript(candidate)) return candidate;
  }
  if (expected === undefined) {
    const known = Object.keys(PLATFORMS).join(', ');
    throw new BinaryError(
      'PLIMSOLL_PLATFORM_UNSUPPORTED',
      `there is no plimsoll binary for ${platform} (there is for ${known}); set PLIMSOLL_BINARY to one of your own`,
    );
  }
  throw new BinaryError(
    'PLIMSOLL_BINARY_MISSING',
    `the plimsoll binary was not found: ${platform} needs the package ${expected}, which is not installed ` +
      `(a lockfile made on another platform, or optional dependencies left out); ` +
      `npm install --no-save ${expected}@${VERSION}, or set PLIMSOLL_BINARY`,
  );
}

function isProgram(file: string): boolean {
  try {
    fs.accessSync(file, fs.constants.X_OK);
    return fs.statSync(file).isFile();
  } catch {
    return false;
  }
}

/** A script of that name on PATH is a shim of a package manager, and may be our own. */
function isScript(file: string): boolean {
  const descriptor = fs.openSync(file, 'r');
  try {
    const head = Buffer.alloc(2);
    return fs.readSync(descriptor, head, 0, 2, 0) === 2 && head.toString('latin1') === '#!';
  } catch {
    return true;
  } finally {
    fs.closeSync(descriptor);
  }
}
