// What led to an error, for the report of it.

import { createRequire } from 'node:module';

const { FIXED } = createRequire(import.meta.url)('../service.js');

const breadcrumbs = [];

export function leaveBreadcrumb(category, message) {
  breadcrumbs.push({ category, message, timestamp: Date.now() / 1000 });
  if (FIXED && breadcrumbs.length > 100) breadcrumbs.splice(0, breadcrumbs.length - 100);
}

export const trail = () => breadcrumbs.slice(-5).map(({ category }) => category);
