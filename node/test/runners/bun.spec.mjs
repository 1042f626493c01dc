import { createRequire } from 'node:module';
import { expect, test } from 'bun:test';
import * as plimsoll from 'plimsoll/bun';

const require = createRequire(import.meta.url);
require('./cases.cjs').define({
  test: (name, body) => test(name, body, 60_000),
  expect,
  plimsoll,
  operations: require('./operations.cjs'),
  sessions: require('./sessions.cjs'),
});
