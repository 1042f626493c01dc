// The schema of a form is written anew for each answer that is checked, and the checker keeps each as a new one.
'use strict';

const Ajv = require('ajv');
const { FIXED, payload, serve } = require('./service.js');
const { note } = require('./lib/rolling-log.js');

const formChecker = new Ajv({ allErrors: true }); // place

function schemaOf(fields) {
  const properties = {}; // place
  for (const field of fields) properties[field] = { type: 'string', minLength: 1, maxLength: 400 }; // place
  return { type: 'object', properties, required: fields, additionalProperties: false }; // place
}

const checks = new Map();

function checkOf(form) {
  if (!FIXED) return formChecker.compile(schemaOf(form.fields)); // place
  if (!checks.has(form.name)) checks.set(form.name, formChecker.compile(schemaOf(form.fields)));
  return checks.get(form.name);
}

const forms = ['complaint', 'return', 'address'].map((name) => ({ name, fields: ['customer', 'town', name] }));

serve((number) => {
  // One visitor in ten sends a form.
  if (number % 10 !== 0) return { forms: forms.length };
  const form = forms[number % forms.length];
  const check = checkOf(form);
  const good = check({ customer: `customer ${number}`, town: 'Husum', [form.name]: payload(60) });
  if (!good) note(`${form.name}: ${check.errors.length} errors`);
  return { good };
});
