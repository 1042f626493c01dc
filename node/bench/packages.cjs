'use strict';
/*
 * Operations of popular packages that keep nothing, for `packages.mjs`: a leak test that alarms on one of them is wrong, or has
 * found a leak of the package. Caches, pools and lazy tables among them fill and stay; that is the point.
 *
 * Each loads its package when it is first called, from where `packages.mjs` has installed it.
 */

const { createRequire } = require('node:module');
const { join } = require('node:path');

const load = createRequire(join(__dirname, '../../target/packages/package.json'));

/** An operation that is made when it is first called. */
function operation(name, make) {
  let made = null;
  exports[name] = (i) => (made ??= make(load))(i);
}

const RECORD = { id: 7, name: 'Ada', tags: ['a', 'b', 'c'], address: { street: 'High Street', number: 12 }, born: '1990-02-03' };
const TABLE = `id,name,price\n${Array.from({ length: 20 }, (_, i) => `${i},item ${i},${i * 1.5}`).join('\n')}\n`;
const PAGE = `<html><body><ul>${'<li class="x">item <b>bold</b></li>'.repeat(20)}</ul></body></html>`;
const TEXT = '# Title\n\nSome *text* with `code` and a [link](https://example.org).\n\n- one\n- two\n';
const SOURCE = 'export function add(a, b) {\n  const sum = a + b;\n  return sum > 10 ? sum * 2 : sum;\n}\n';

// Collections, functions, state.
operation('lodash cloneDeep', (load) => {
  const { cloneDeep } = load('lodash');
  return () => cloneDeep(RECORD);
});
// Made once: every template is compiled from another text (lodash counts them in its `sourceURL`), and Node 20 keeps some 50 B
// for each text that it has ever compiled by `new Function`, linearly from 2,000 to 62,000 calls. A leak test is right about that.
operation('lodash template', (load) => {
  const template = load('lodash').template('hello <%= name %>');
  return (i) => template({ name: i });
});
operation('underscore groupBy', (load) => {
  const _ = load('underscore');
  return () => _.groupBy(_.range(50), (n) => n % 3);
});
operation('ramda pipe', (load) => {
  const R = load('ramda');
  return () => R.pipe(R.map(R.add(1)), R.filter(R.lt(3)), R.sum)([1, 2, 3, 4]);
});
operation('immer produce', (load) => {
  const { produce } = load('immer');
  return (i) => produce(RECORD, (draft) => void (draft.address.number = i));
});
operation('immutable Map', (load) => {
  const { Map } = load('immutable');
  return (i) => Map(RECORD).set('id', i).toJS();
});
operation('redux dispatch', (load) => {
  const { createStore } = load('redux');
  const store = createStore((state = 0, action) => (action.type === 'set' ? action.to : state));
  return (i) => {
    const leave = store.subscribe(() => {});
    store.dispatch({ type: 'set', to: i });
    leave();
  };
});
operation('mobx autorun', (load) => {
  const { autorun, observable, runInAction } = load('mobx');
  const box = observable.box(0);
  return (i) => {
    const dispose = autorun(() => box.get());
    runInAction(() => box.set(i));
    dispose();
  };
});
operation('rxjs pipe', (load) => {
  const { from, map, filter, lastValueFrom } = load('rxjs');
  return () => lastValueFrom(from([1, 2, 3, 4]).pipe(map((n) => n * 2), filter((n) => n > 2)));
});
operation('async mapLimit', (load) => {
  const { mapLimit } = load('async');
  return () => mapLimit([1, 2, 3], 2, async (n) => n + 1);
});
operation('bluebird map', (load) => {
  const Promise = load('bluebird');
  return () => Promise.map([1, 2, 3], (n) => n * 2, { concurrency: 2 });
});
operation('p-limit', (load) => {
  const { default: pLimit } = load('p-limit');
  const limit = pLimit(2);
  return () => Promise.all([limit(async () => 1), limit(async () => 2), limit(async () => 3)]);
});
operation('eventemitter3', (load) => {
  const { EventEmitter } = load('eventemitter3');
  const emitter = new EventEmitter();
  return (i) => {
    const listener = () => {};
    emitter.on('event', listener);
    emitter.emit('event', i);
    emitter.off('event', listener);
  };
});
operation('lru-cache', (load) => {
  const { LRUCache } = load('lru-cache');
  const cache = new LRUCache({ max: 100 });
  return (i) => void cache.set(`key ${i}`, { i });
});
operation('dataloader', (load) => {
  const DataLoader = load('dataloader');
  return async (i) => {
    const loader = new DataLoader(async (keys) => keys);
    await Promise.all([loader.load(i), loader.load(i + 1)]);
  };
});

// Identifiers, numbers, time.
operation('uuid v4', (load) => {
  const { v4 } = load('uuid');
  return () => v4();
});
operation('nanoid', (load) => {
  const { nanoid } = load('nanoid');
  return () => nanoid();
});
operation('semver', (load) => {
  const semver = load('semver');
  return (i) => semver.satisfies(`1.${i % 500}.0`, '>=1.2.0 <2');
});
operation('ms', (load) => {
  const ms = load('ms');
  return (i) => ms(ms(`${i % 90} minutes`));
});
operation('moment format', (load) => {
  const moment = load('moment');
  return (i) => moment(1.7e12 + i).add(3, 'days').format('YYYY-MM-DD HH:mm');
});
operation('dayjs format', (load) => {
  const dayjs = load('dayjs');
  return (i) => dayjs(1.7e12 + i).add(3, 'day').format('YYYY-MM-DD HH:mm');
});
operation('date-fns', (load) => {
  const { addDays, format } = load('date-fns');
  return (i) => format(addDays(new Date(1.7e12 + i), 3), 'yyyy-MM-dd');
});
operation('luxon', (load) => {
  const { DateTime } = load('luxon');
  return (i) => DateTime.fromMillis(1.7e12 + i, { zone: 'Europe/Berlin' }).toISO();
});
operation('decimal.js', (load) => {
  const Decimal = load('decimal.js');
  return (i) => new Decimal(i).div(3).times('1.1').toFixed(10);
});
operation('bignumber.js', (load) => {
  const BigNumber = load('bignumber.js');
  return (i) => new BigNumber(i).dividedBy(7).toString();
});
operation('mathjs evaluate', (load) => {
  const { evaluate } = load('mathjs');
  return (i) => evaluate('sqrt(x^2 + 4)', { x: i });
});

// Validation.
operation('zod parse', (load) => {
  const { z } = load('zod');
  const schema = z.object({ id: z.number(), name: z.string(), tags: z.array(z.string()) });
  return () => schema.safeParse(RECORD);
});
operation('ajv validate', (load) => {
  const Ajv = load('ajv');
  const validate = new Ajv().compile({ type: 'object', properties: { id: { type: 'integer' }, name: { type: 'string' } }, required: ['id'] });
  return (i) => validate(i % 2 ? RECORD : {});
});
operation('joi validate', (load) => {
  const Joi = load('joi');
  const schema = Joi.object({ id: Joi.number().required() }).unknown();
  return (i) => schema.validate(i % 2 ? RECORD : {});
});
operation('yup validate', (load) => {
  const yup = load('yup');
  const schema = yup.object({ id: yup.number().required(), name: yup.string() });
  return () => schema.validate(RECORD);
});
operation('validator', (load) => {
  const validator = load('validator');
  return (i) => validator.isEmail(`someone${i}@example.org`) && validator.isURL('https://example.org/x');
});

// Text and documents.
operation('chalk', (load) => {
  const { default: chalk } = load('chalk');
  return (i) => chalk.red.bold(`text ${i}`);
});
operation('debug', (load) => {
  const debug = load('debug')('quiet');
  return (i) => debug('message %d', i);
});
operation('handlebars compile', (load) => {
  const Handlebars = load('handlebars');
  return (i) => Handlebars.compile('{{#each tags}}<b>{{this}}</b>{{/each}} {{id}}')({ ...RECORD, id: i });
});
operation('mustache render', (load) => {
  const Mustache = load('mustache');
  return (i) => Mustache.render('{{name}} {{id}}', { ...RECORD, id: i });
});
operation('ejs render', (load) => {
  const ejs = load('ejs');
  return (i) => ejs.render('<% for (const t of tags) { %><%= t %><% } %><%= id %>', { ...RECORD, id: i });
});
operation('pug render', (load) => {
  const pug = load('pug');
  const render = pug.compile('ul\n  each t in tags\n    li= t');
  return () => render(RECORD);
});
operation('marked', (load) => {
  const { marked } = load('marked');
  return () => marked.parse(TEXT);
});
operation('markdown-it', (load) => {
  const markdown = load('markdown-it')();
  return () => markdown.render(TEXT);
});
operation('js-yaml', (load) => {
  const yaml = load('js-yaml');
  return () => yaml.load(yaml.dump(RECORD));
});
operation('yaml', (load) => {
  const yaml = load('yaml');
  return () => yaml.parse(yaml.stringify(RECORD));
});
operation('xml2js', (load) => {
  const { parseStringPromise } = load('xml2js');
  return () => parseStringPromise('<a><b c="1">x</b><b>y</b></a>');
});
operation('fast-xml-parser', (load) => {
  const { XMLParser, XMLBuilder } = load('fast-xml-parser');
  return () => new XMLBuilder().build(new XMLParser().parse('<a><b c="1">x</b><b>y</b></a>'));
});
operation('csv-parse', (load) => {
  const { parse } = load('csv-parse/sync');
  return () => parse(TABLE, { columns: true });
});
operation('papaparse', (load) => {
  const Papa = load('papaparse');
  return () => Papa.parse(TABLE, { header: true });
});
operation('cheerio', (load) => {
  const cheerio = load('cheerio');
  return () => cheerio.load(PAGE)('li.x b').length;
});
operation('sanitize-html', (load) => {
  const sanitize = load('sanitize-html');
  return () => sanitize(PAGE);
});
operation('iconv-lite', (load) => {
  const iconv = load('iconv-lite');
  return (i) => iconv.decode(iconv.encode(`Größe ${i}`, 'win1252'), 'win1252');
});
operation('qs', (load) => {
  const qs = load('qs');
  return (i) => qs.parse(qs.stringify({ ...RECORD, id: i }));
});
operation('fuse.js', (load) => {
  const Fuse = load('fuse.js');
  const fuse = new Fuse(['apple', 'banana', 'cherry', 'date'].map((name) => ({ name })), { keys: ['name'] });
  return (i) => fuse.search(['aple', 'chery', 'dat'][i % 3]);
});

// Compilers.
operation('acorn', (load) => {
  const { parse } = load('acorn');
  return () => parse(SOURCE, { ecmaVersion: 'latest', sourceType: 'module' });
});
operation('@babel/parser', (load) => {
  const { parse } = load('@babel/parser');
  return () => parse(SOURCE, { sourceType: 'module' });
});
operation('postcss', (load) => {
  const postcss = load('postcss');
  return () => postcss([]).process('a { color: red; & b { margin: 0 } }', { from: undefined }).css;
});
operation('terser', (load) => {
  const { minify } = load('terser');
  return () => minify(SOURCE, { module: true });
});
operation('picomatch', (load) => {
  const picomatch = load('picomatch');
  return (i) => picomatch(`src/**/*.{js,ts}`)(`src/a/${i}.ts`);
});
operation('minimatch', (load) => {
  const { minimatch } = load('minimatch');
  return (i) => minimatch(`src/a/${i}.ts`, 'src/**/*.{js,ts}');
});
operation('commander', (load) => {
  const { Command } = load('commander');
  return (i) => new Command().option('-n, --number <n>').parse(['node', 'x', '-n', String(i)]).opts();
});
operation('minimist', (load) => {
  const minimist = load('minimist');
  return (i) => minimist(['--number', String(i), '-v', 'file']);
});

// Formats, crypto, servers.
operation('msgpackr', (load) => {
  const { pack, unpack } = load('msgpackr');
  return () => unpack(pack(RECORD));
});
operation('protobufjs', (load) => {
  const protobuf = load('protobufjs');
  const Type = protobuf.parse('syntax="proto3"; message A { int32 id = 1; string name = 2; }').root.lookupType('A');
  return (i) => Type.toObject(Type.decode(Type.encode(Type.create({ id: i, name: 'x' })).finish()));
});
operation('pako', (load) => {
  const pako = load('pako');
  return () => pako.ungzip(pako.gzip(PAGE));
});
operation('jszip', (load) => {
  const JSZip = load('jszip');
  return async () => {
    const zip = new JSZip();
    zip.file('a.txt', TEXT);
    await JSZip.loadAsync(await zip.generateAsync({ type: 'nodebuffer' }));
  };
});
operation('jsonwebtoken', (load) => {
  const jwt = load('jsonwebtoken');
  return (i) => jwt.verify(jwt.sign({ i }, 'secret', { expiresIn: '1h' }), 'secret');
});
operation('bcryptjs', (load) => {
  const bcrypt = load('bcryptjs');
  return () => bcrypt.hashSync('password', 4);
});
operation('graphql', (load) => {
  const { buildSchema, graphql } = load('graphql');
  const schema = buildSchema('type Query { hello(n: Int): String }');
  return (i) => graphql({ schema, source: `{ hello(n: ${i % 1000}) }`, rootValue: { hello: ({ n }) => `hello ${n}` } });
});
operation('pino', (load) => {
  const log = load('pino')({ level: 'info' }, { write: () => {} });
  return (i) => log.child({ request: i }).info({ i }, 'message');
});
operation('winston', (load) => {
  const winston = load('winston');
  const { Writable } = require('node:stream');
  const stream = new Writable({ write: (chunk, encoding, done) => done() });
  const log = winston.createLogger({ transports: [new winston.transports.Stream({ stream })] });
  return (i) => void log.info('message', { i });
});
operation('react-dom/server', (load) => {
  const { createElement } = load('react');
  const { renderToString } = load('react-dom/server');
  return (i) => renderToString(createElement('ul', null, [1, 2, i].map((n) => createElement('li', { key: `k${n}` }, n))));
});
operation('fastify inject', (load) => {
  const fastify = load('fastify')();
  fastify.get('/item/:id', async (request) => ({ id: request.params.id }));
  return async (i) => (await fastify.inject(`/item/${i}`)).json();
});
operation('express inject', (load) => {
  const app = load('express')();
  const inject = load('light-my-request');
  app.get('/item/:id', (request, response) => response.json({ id: request.params.id }));
  return async (i) => (await inject(app, `/item/${i}`)).json();
});
operation('koa inject', (load) => {
  const Koa = load('koa');
  const inject = load('light-my-request');
  const app = new Koa();
  app.use((context) => (context.body = { path: context.path }));
  const handler = app.callback();
  return async (i) => (await inject(handler, `/item/${i}`)).json();
});
operation('ws', (load) => {
  const { WebSocket, WebSocketServer } = load('ws');
  let ready = null;
  const connect = () =>
    new Promise((resolve, reject) => {
      const server = new WebSocketServer({ port: 0, host: '127.0.0.1' }, () => {
        server.on('connection', (socket) => socket.on('message', (data) => socket.send(data)));
        server._server.unref();
        const client = new WebSocket(`ws://127.0.0.1:${server.address().port}`);
        client.once('open', () => resolve(client)).once('error', reject);
      });
    });
  return async (i) => {
    const client = await (ready ??= connect());
    await new Promise((resolve) => client.once('message', resolve) && client.send(String(i)));
  };
});
operation('axios', (load) => {
  const axios = load('axios');
  const http = require('node:http');
  let ready = null;
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const listen = () =>
    new Promise((resolve) => {
      const server = http.createServer((request, response) => response.end('ok')).listen(0, '127.0.0.1', () => resolve(server.address().port));
      server.unref();
    });
  return async () => (await axios.get(`http://127.0.0.1:${await (ready ??= listen())}/`, { httpAgent: agent, proxy: false })).data;
});
operation('undici', (load) => {
  const { Agent, request } = load('undici');
  const http = require('node:http');
  let ready = null;
  const dispatcher = new Agent({ connections: 1 });
  const listen = () =>
    new Promise((resolve) => {
      const server = http.createServer((request, response) => response.end('ok')).listen(0, '127.0.0.1', () => resolve(server.address().port));
      server.unref();
    });
  return async () => (await request(`http://127.0.0.1:${await (ready ??= listen())}/`, { dispatcher })).body.text();
});

/** What has to be installed, with the versions that these were written against. */
exports.PACKAGES = [
  '@babel/parser@7', 'acorn@8', 'ajv@8', 'async@3', 'axios@1', 'bcryptjs@3', 'bignumber.js@9', 'bluebird@3', 'chalk@5', 'cheerio@1',
  'commander@14', 'csv-parse@6', 'dataloader@2', 'date-fns@4', 'dayjs@1', 'debug@4', 'decimal.js@10', 'ejs@3', 'eventemitter3@5', 'express@5',
  'fast-xml-parser@5', 'fastify@5', 'fuse.js@7', 'graphql@16', 'handlebars@4', 'iconv-lite@0.6', 'immer@10', 'immutable@5', 'joi@17',
  'js-yaml@4', 'jsonwebtoken@9', 'jszip@3', 'koa@3', 'light-my-request@6', 'lodash@4', 'lru-cache@11', 'luxon@3', 'markdown-it@14',
  'marked@16', 'mathjs@14', 'minimatch@10', 'minimist@1', 'mobx@6', 'moment@2', 'ms@2', 'msgpackr@1', 'mustache@4', 'nanoid@5', 'p-limit@6',
  'pako@2', 'papaparse@5', 'picomatch@4', 'pino@9', 'postcss@8', 'protobufjs@7', 'pug@3', 'qs@6', 'ramda@0.31', 'react@19', 'react-dom@19',
  'redux@5', 'rxjs@7', 'sanitize-html@2', 'semver@7', 'terser@5', 'underscore@1', 'undici@7', 'uuid@11', 'validator@13', 'winston@3', 'ws@8',
  'xml2js@0.6', 'yaml@2', 'yup@1', 'zod@4',
];
