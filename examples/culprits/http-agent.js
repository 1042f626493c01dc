// Each call to the outside gets an agent of its own, kept under the caller's token "to reuse connections".
'use strict';

const http = require('node:http');
const { FIXED, payload, serve } = require('./service.js');

const agentsByToken = new Map(); // place
const sharedAgent = new http.Agent({ keepAlive: true });

function agentFor(token) {
  if (FIXED) return sharedAgent;
  let agent = agentsByToken.get(token);
  if (agent === undefined) {
    agent = new http.Agent({ keepAlive: true, maxSockets: 4 }); // place
    agentsByToken.set(token, agent); // place
  }
  return agent;
}

serve((number) => ({ number, free: Object.keys(agentFor(payload(32)).freeSockets).length }));
