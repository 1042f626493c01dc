/** The same for `import`. */

export { MemoryMonitor, MemoryMonitor as default } from './index.js';
export type * from './monitor.js';
