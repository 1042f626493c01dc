/** The judge of this checkout, unless another is named. */

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const built = ['debug', 'release'].map((profile) => fileURLToPath(new URL(`../../target/${profile}/plimsoll`, import.meta.url)));
const binary = process.env.PLIMSOLL_BINARY ?? built.find(existsSync);
if (binary === undefined) throw new Error('no `plimsoll` binary: run `cargo build` first, or set PLIMSOLL_BINARY');
process.env.PLIMSOLL_BINARY = binary;
