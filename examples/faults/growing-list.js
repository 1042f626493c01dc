// Adds a row to a table per request and answers with the rows of one of its sections, as a list endpoint does over a table
// that the load itself fills: memory and answers grow together. With --paged the answer is the last ten rows only, so that
// nothing but the table grows; with --fixed the table keeps ten rows a section.
'use strict';

const { fixed, serve, setting } = require('./subject.js');

const paged = process.argv.includes('--paged');
const SECTIONS = setting('SECTIONS', 50);
const PAGE = 10;
const table = Array.from({ length: SECTIONS }, () => []);
let rows = 0;

serve((_request, response) => {
  const section = table[rows % SECTIONS];
  section.push({ id: rows++, text: `row ${String(rows).padStart(9, '0')} of a table` });
  if (fixed && section.length > PAGE) section.shift();
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify(paged ? section.slice(-PAGE) : section));
});
