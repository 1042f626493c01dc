/* The types as a script sees them; compiled, never run. */

import plimsoll = require('plimsoll');
import node = require('plimsoll/node');

const same: typeof plimsoll.LeakError = node.LeakError;
export const pending: Promise<plimsoll.Verdict> = node.expect(() => undefined).not.toLeak();
export default same;
