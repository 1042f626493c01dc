/** The same for `import`. */

export * from './runner-mocha.js';
