// Queries are parsed once and found again by their hash; an old client writes the values into the text, so that each is a new one.
'use strict';

const crypto = require('node:crypto');
const { buildSchema, execute, parse, validate } = require('graphql');
const { FIXED, payload, serve } = require('./service.js');
const { LatencyWindow } = require('./lib/latency-window.js');

const schema = buildSchema(`
  type Berth { number: Int! free: Boolean! remark: String }
  type Query { berth(vessel: String!, metres: Int!): Berth }
`);
const rootValue = { berth: ({ metres }) => ({ number: metres % 30, free: metres % 2 === 0, remark: payload(30) }) };

const documentByHash = new Map(); // place
const times = new LatencyWindow();

function documentFor(query) {
  const hash = crypto.createHash('sha256').update(query).digest('base64');
  let document = documentByHash.get(hash);
  if (document === undefined) {
    document = parse(query, { noLocation: true }); // place
    const [error] = validate(schema, document);
    if (error) throw error;
    documentByHash.set(hash, document); // place
  }
  return document;
}

/** What a client sends. */
function questionOf(number) {
  const vessel = `vessel ${number}`;
  const metres = 8 + (number % 40);
  if (FIXED) {
    const query = 'query($vessel: String!, $metres: Int!) { berth(vessel: $vessel, metres: $metres) { number free remark } }';
    return { query, variables: { vessel, metres } };
  }
  return { query: `{ berth(vessel: "${vessel}", metres: ${metres}) { number free remark } }` };
}

serve((number) => {
  const begun = performance.now();
  const { query, variables } = questionOf(number);
  const answer = execute({ schema, document: documentFor(query), rootValue, variableValues: variables }); // place
  times.add(performance.now() - begun);
  return answer;
});
