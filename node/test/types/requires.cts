/* The types as a script sees them; compiled, never run. */

import plimsoll = require('plimsoll');
import node = require('plimsoll/node');
import Monitor = require('plimsoll/memory-monitor');

const same: typeof plimsoll.LeakError = node.LeakError;
export const pending: Promise<plimsoll.Verdict> = node.expect(() => undefined).not.toLeak();
export const monitor: plimsoll.MemoryMonitor = new Monitor({ interval: 500, duration: 1000, outputFile: 'x.json' });
export default same;
