// Starts the subjects of `examples/` for their tests, and asks them things.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const examples = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');

/** Starts `command` and resolves once a line of its standard output matches `ready`. */
export async function start(t, command, { env = {}, ready = /listening on http:\/\/127\.0\.0\.1:(\d+)\// } = {}) {
  const child = spawn(command[0], command.slice(1), {
    cwd: examples,
    env: { ...process.env, NODE_OPTIONS: '', PORT: '0', LIFETIME_S: '120', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const subject = { child, stdout: '', stderr: '', printed: 0, ended: once(child, 'exit') };
  t.after(async () => {
    child.kill('SIGKILL');
    await subject.ended;
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    subject.stderr += text;
  });
  const found = new Promise((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (text) => {
      subject.printed += text.length;
      if (subject.stdout.length < 1_000_000) subject.stdout += text;
      const match = ready.exec(subject.stdout);
      if (match) resolve(match);
    });
    child.once('exit', () => reject(new Error(`ended before it was ready: ${subject.stderr}`)));
  });
  subject.port = Number((await found)[1]);
  return subject;
}

/** One request on a connection of its own; `undefined` as status when the connection broke. */
export function ask(port, url, { method = 'GET', headers = {} } = {}) {
  return new Promise((resolve) => {
    const request = http.request({ host: '127.0.0.1', port, path: url, method, headers, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text) => {
        body += text;
      });
      response.once('end', () => resolve({ status: response.statusCode, headers: response.headers, body }));
    });
    request.once('error', (error) => resolve({ status: undefined, error }));
    request.end();
  });
}

export async function askTimes(count, port, url) {
  const answers = [];
  for (let number = 0; number < count; number += 1) answers.push(await ask(port, url));
  return answers;
}

/**
 * Asks again until `accept` holds of the answer: for what happens soon after an answer, not with it.
 * Gives up after a minute, since the runner's own timeout does not end a loop.
 */
export async function askUntil(port, url, accept) {
  const deadline = Date.now() + 60_000;
  while (Date.now() < deadline) {
    const answer = await ask(port, url);
    if (accept(answer)) return answer;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`port ${port} did not give the answer expected of ${url}`);
}

/** A port that was free a moment ago, for subjects that cannot tell which one they picked. */
export async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}
