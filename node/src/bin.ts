#!/usr/bin/env node
/** `npx plimsoll …`: hands over to the binary. It costs a start of Node; where that counts, call the binary itself. */

import { spawn } from 'child_process';

import { findBinary } from './binary';

/** What the command line says for what is knowable before the start. */
const USAGE = 2;

function main(): void {
  let binary: string;
  try {
    binary = findBinary();
  } catch (error) {
    console.error(`error: ${(error as Error).message}`);
    process.exitCode = USAGE;
    return;
  }
  const child = spawn(binary, process.argv.slice(2), { stdio: 'inherit' });
  const passed: NodeJS.Signals[] = ['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGQUIT'];
  for (const signal of passed) {
    process.on(signal, () => {
      // A terminal tells both of us already; twice would mean "at once" to the binary.
      if (!(process.stdin.isTTY && /INT|QUIT/.test(signal))) child.kill(signal);
    });
  }
  child.on('error', (error) => {
    console.error(`error: ${binary} cannot be started: ${error.message}`);
    process.exitCode = USAGE;
  });
  child.on('exit', (code, signal) => {
    for (const each of passed) process.removeAllListeners(each);
    if (signal === null) process.exitCode = code ?? USAGE;
    else process.kill(process.pid, signal);
  });
}

main();
