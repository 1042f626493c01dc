/** Runs the binary without blocking, for a process that has other things to do. */

import { spawn } from 'child_process';

/** How a run ended. */
export interface Ran {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Starts `binary`, which does not keep this process alive by itself; `cancel` ends it and lets its pipes go. */
export function runLater(binary: string, args: readonly string[], options: { readonly input?: string; readonly env?: NodeJS.ProcessEnv; readonly timeout: number }): { readonly ran: Promise<Ran>; readonly cancel: () => void } {
  const { input = '', env = process.env, timeout } = options;
  const child = spawn(binary, args, { env, timeout, stdio: 'pipe' });
  child.unref();
  const ran = new Promise<Ran>((resolve, reject) => {
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    // It may be gone before it has read all.
    child.stdin.on('error', () => undefined);
    child.on('error', reject);
    child.on('close', (status, signal) => resolve({ status, signal, stdout, stderr }));
  });
  child.stdin.end(input);
  const cancel = (): void => {
    child.kill('SIGKILL');
    for (const pipe of [child.stdin, child.stdout, child.stderr]) pipe.destroy();
  };
  return { ran, cancel };
}
