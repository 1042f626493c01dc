/* Suites from a test: what is red is thrown with its reason, what is well is returned, what did not run says why. */

import './binary.mjs';

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { BinaryError, SuiteError, suite } from 'plimsoll';

const subject = fileURLToPath(new URL('../../testdata/suite/ledger.mjs', import.meta.url));

test('a subject that is well gives its checks', async () => {
  const report = await suite('fast', subject, { only: ['error_recovery.nested'] });
  assert.deepEqual(report.checks.map(({ name, state }) => [name, state]), [['nested', 'passed']], JSON.stringify(report.checks));
});

test('a check that is red is thrown, with who holds what grew', async () => {
  process.env.MUTANT = 'invalid';
  try {
    await assert.rejects(suite('fast', subject, { only: ['error_recovery.invalid'] }), (error) => {
      assert.ok(error instanceof SuiteError);
      assert.equal(error.report.checks[0].state, 'leak');
      assert.match(error.message, /1 of 1 checks of .*\n {2}error_recovery\.invalid: leak: .*registered/);
      return true;
    });
  } finally {
    delete process.env.MUTANT;
  }
});

test('what does not run says why', async () => {
  await assert.rejects(suite('fast', subject, { only: ['nothing_of_that_name'] }), (error) => {
    assert.ok(error instanceof BinaryError);
    assert.match(error.message, /nothing_of_that_name/);
    return true;
  });
});
