/** Errors that programs may want to tell apart; each has a stable `code`. */

/** Why there is no binary. */
export type BinaryErrorCode =
  /** `PLIMSOLL_BINARY` names something that is no program. */
  | 'PLIMSOLL_BINARY_INVALID'
  /** There is no build for this platform. */
  | 'PLIMSOLL_PLATFORM_UNSUPPORTED'
  /** The package of this platform is not installed, and `PATH` has no `plimsoll`. */
  | 'PLIMSOLL_BINARY_MISSING'
  /** It is there and does not answer. */
  | 'PLIMSOLL_BINARY_FAILED';

/** The binary is missing or does not work; `code` says which, the message what to do. */
export class BinaryError extends Error {
  /** Which of the ways to be without a binary this is. */
  readonly code: BinaryErrorCode;

  constructor(code: BinaryErrorCode, message: string) {
    super(message);
    this.name = 'BinaryError';
    this.code = code;
  }
}

/** The operation has neither returned nor settled in time. */
export class UnsettledError extends Error {
  /** Stable, for programs. */
  readonly code = 'PLIMSOLL_OPERATION_UNSETTLED';

  constructor(milliseconds: number) {
    super(`the operation has not settled for ${Math.round(milliseconds / 100) / 10} s`);
    this.name = 'UnsettledError';
  }
}

/** This version of Node is too old for leak tests. */
export class RuntimeError extends Error {
  /** Stable, for programs. */
  readonly code = 'PLIMSOLL_RUNTIME_UNSUPPORTED';

  constructor(message: string) {
    super(message);
    this.name = 'RuntimeError';
  }
}

/** No snapshot is taken, or none can be read; the message says why. */
export class SnapshotError extends Error {
  /** Stable, for programs. */
  readonly code = 'PLIMSOLL_NO_SNAPSHOT';

  constructor(message: string) {
    super(message);
    this.name = 'SnapshotError';
  }
}
