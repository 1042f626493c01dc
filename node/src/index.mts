/** The same for `import`: one implementation, so that a class is the same class for both. */

export * from './index.js';
