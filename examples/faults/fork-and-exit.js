// A daemon: the parent starts itself again in a session of its own and exits with 0; the child serves.
//
// EXIT_AFTER_MS  how long the parent stays (default 0)
'use strict';

const { spawn } = require('node:child_process');
const { answerOk, serve, setting } = require('./subject.js');

if (process.argv.includes('--daemon')) {
  serve((_request, response) => answerOk(response));
} else {
  const child = spawn(process.execPath, [__filename, '--daemon'], { detached: true, stdio: 'ignore' });
  child.unref();
  console.log(`started daemon ${child.pid}`);
  setTimeout(() => process.exit(0), setting('EXIT_AFTER_MS', 0));
}
