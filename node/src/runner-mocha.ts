/** `plimsoll/mocha`: leak tests in mocha, and wherever assertions cannot be extended. */

export { expect } from './expect';
export * from './index';
