// A login service that keeps its sessions in a module-level Map.
//
//   node server.js            every login adds a session, nothing ever removes one
//   node server.js --fixed    at most 500 sessions; the least recently used one is dropped
//
// PORT sets the port (default 8080). SIGTERM ends it after the requests in flight.
'use strict';

const crypto = require('node:crypto');
const http = require('node:http');

const FIXED = process.argv.includes('--fixed');
const PORT = Number(process.env.PORT ?? 8080);
const MAX_SESSIONS = 500;
const ROLES = ['reader', 'editor', 'billing', 'admin'];

/** What the service remembers about one signed-in browser. */
class AuthenticatedSession {
  constructor(token, userNumber, request) {
    this.token = token;
    this.user = {
      id: userNumber,
      name: `user-${userNumber}`,
      email: `user-${userNumber}@example.org`,
      locale: 'en-GB',
    };
    this.roles = ROLES.filter((_, position) => (userNumber >> position) & 1 || position === 0);
    this.csrfToken = crypto.randomBytes(24).toString('base64url');
    this.createdAt = new Date();
    this.lastSeenAt = new Date();
    this.navigationHistory = [];
    for (const step of ['sign-in form', 'password accepted', 'terms shown', 'profile read', 'dashboard', 'inbox']) {
      this.recordStep(step, request);
    }
  }

  recordStep(step, request) {
    this.navigationHistory.push({
      step,
      at: Date.now(),
      address: request.socket.remoteAddress,
      reference: crypto.randomBytes(16).toString('hex'),
    });
  }
}

// The leak: this Map lives as long as the process, and `issueSession` is the only code that touches it.
const sessionsByToken = new Map();
let usersSeen = 0;

function issueSession(request) {
  const token = crypto.randomBytes(32).toString('hex');
  sessionsByToken.set(token, new AuthenticatedSession(token, ++usersSeen, request));
  if (FIXED) evictIdleSessions();
  return sessionsByToken.get(token);
}

// The fix: a Map keeps insertion order, and a session that is seen again is inserted again,
// so the first key is always the least recently used one.
function evictIdleSessions() {
  while (sessionsByToken.size > MAX_SESSIONS) {
    sessionsByToken.delete(sessionsByToken.keys().next().value);
  }
}

function findSession(request) {
  const token = /(?:^|;\s*)session=([0-9a-f]{64})/.exec(request.headers.cookie ?? '')?.[1];
  const session = token && sessionsByToken.get(token);
  if (!session) return undefined;
  session.lastSeenAt = new Date();
  sessionsByToken.delete(token);
  sessionsByToken.set(token, session);
  return session;
}

function sendJson(response, status, body, headers = {}) {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
}

const server = http.createServer((request, response) => {
  request.resume(); // A body may come with POST; the example needs nothing from it.
  const path = request.url.split('?', 1)[0];
  if (path === '/login' && (request.method === 'GET' || request.method === 'POST')) {
    const session = findSession(request) ?? issueSession(request);
    sendJson(response, 200, { user: session.user.name, roles: session.roles }, {
      'set-cookie': `session=${session.token}; HttpOnly; SameSite=Lax`,
    });
  } else if (path === '/login') {
    sendJson(response, 405, { error: 'use GET or POST' }, { allow: 'GET, POST' });
  } else if (path === '/healthz') {
    sendJson(response, 200, { status: 'ok', sessions: sessionsByToken.size });
  } else {
    sendJson(response, 404, { error: 'no such page' });
  }
});

server.listen(PORT, '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}/login`);
});

process.once('SIGTERM', () => {
  server.close();
  server.closeIdleConnections();
  setTimeout(() => server.closeAllConnections(), 2000).unref();
});
