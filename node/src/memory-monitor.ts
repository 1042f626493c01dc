/** `plimsoll/memory-monitor`: the class itself, as `require` and as the default of `import`. */

import { MemoryMonitor } from './monitor';

export = MemoryMonitor;
