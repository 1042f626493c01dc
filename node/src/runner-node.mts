/** The same for `import`. */

export * from './runner-node.js';
