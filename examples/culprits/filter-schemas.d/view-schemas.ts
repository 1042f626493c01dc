// Schemas of the filters that a view allows, made once a view.

import { z, type ZodTypeAny } from 'zod';
import { FIXED } from '../service.js';

export interface SearchView {
  table: string;
  columns: string[];
  openedAt: number;
}

const schemaByView = new Map<string, ZodTypeAny>();

function keyOf(view: SearchView): string {
  return FIXED ? `${view.table}: ${view.columns.join()}` : JSON.stringify(view);
}

export function schemaFor(view: SearchView): ZodTypeAny {
  const key = keyOf(view);
  let schema = schemaByView.get(key);
  if (schema === undefined) {
    const shape: Record<string, ZodTypeAny> = {};
    for (const column of view.columns) shape[column] = z.string().max(80);
    schema = z.object(shape);
    schemaByView.set(key, schema);
  }
  return schema;
}
