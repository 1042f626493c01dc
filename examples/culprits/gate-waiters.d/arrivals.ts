import { waitFor } from 'xstate';
import { FIXED } from '../service.js';
import { yardGate } from './gate';

const PATIENCE = 2;

export interface Lorry {
  readonly plate: string;
  readonly freight: string;
  admitted: boolean;
}

function patienceIsOver(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, PATIENCE));
}

/** Admits the lorry as soon as the gate is open. */
async function admitWhenOpen(lorry: Lorry): Promise<void> { // place
  const options = FIXED ? { timeout: PATIENCE } : undefined;
  try {
    await waitFor(yardGate, (gate) => gate.matches('open'), options); // place
    lorry.admitted = true;
  } catch {
    lorry.admitted = false;
  }
}

export async function arrive(lorry: Lorry): Promise<string> {
  await Promise.race([admitWhenOpen(lorry), patienceIsOver()]); // place
  return lorry.admitted ? 'drive in' : 'park outside and ask again';
}
