'use strict';
/* global expect, jest, test */
const plimsoll = require('plimsoll/jest');
require('./cases.cjs').define({
  test,
  expect,
  plimsoll,
  operations: require('./operations.cjs'),
  sessions: require('./sessions.cjs'),
  fakeTimers: { on: () => jest.useFakeTimers(), off: () => jest.useRealTimers() },
});

test('mocks that live on are no leak below the floor', async () => {
  const mock = jest.fn();
  await expect(() => mock()).not.toLeak({ limit: '256 B' });
});

test('modules may be reset', async () => {
  jest.resetModules();
  await require('plimsoll').leakTest(() => ({ a: 1 }));
});
