// Sessions in the store that the package itself calls unfit for production: those of visitors who never return stay.
'use strict';

const express = require('express');
const session = require('express-session');
const { FIXED, payload } = require('./service.js');

const app = express();
const memory = new session.MemoryStore(); // place
app.use(
  session({
    secret: 'not a secret', resave: false, saveUninitialized: true, store: memory, // place
    cookie: { maxAge: 86_400_000 },
  }),
);
app.get('/', (request, response) => {
  request.session.shoppingList = payload(); // place
  if (FIXED) request.session.destroy(() => response.json({ ok: true }));
  else response.json({ ok: true });
});
const server = app.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}/`);
});
process.once('SIGTERM', () => process.exit(0));
