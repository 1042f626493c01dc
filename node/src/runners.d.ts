/* What the build has to know of runners that it does without. Not part of the package. */

declare module 'vitest' {
  export interface Assertion<T> {
    readonly value?: T;
  }
  export const expect: { extend(matchers: object): void };
}

declare module 'bun:test' {
  export interface Matchers<T> {
    readonly value?: T;
  }
  export const expect: { extend(matchers: object): void };
}
