/** The main file of the process in which an operation is measured alone. Its answer goes to descriptor 3. */

import fs = require('fs');

import { checkHere } from './here';
import type { Task } from './isolate';
import { load } from './load';

async function main(): Promise<void> {
  let answer: string;
  try {
    const task = JSON.parse(process.argv[2] ?? '') as Task;
    const subject = task.export === null ? { module: task.module } : { module: task.module, export: task.export };
    const { operation, kind } = await load(subject);
    const verdict = await checkHere(operation, task.settings, task.kinds.map(kind));
    answer = JSON.stringify({ verdict });
  } catch (thrown) {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    const { name, message, stack } = error;
    answer = JSON.stringify({ error: { name, message, stack, code: (error as NodeJS.ErrnoException).code } });
  }
  fs.writeSync(3, answer);
  // Whatever the module left open keeps nobody waiting.
  process.exit(0);
}

void main();
