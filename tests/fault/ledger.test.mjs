// SPDX-License-Identifier: Apache-2.0
import test from 'node:test';
import { ledger } from './ledger.mjs';

test('nothing that was acknowledged is lost when taskwire and PostgreSQL are killed', async (t) => {
  await ledger({ seed: Number(process.env.TASKWIRE_SEED ?? Date.now() % 1e6), say: (line) => t.diagnostic(line) });
});

test('nor when there are two processes, and kills hit any of them', async (t) => {
  await ledger({ processes: 2, commands: 2000, seed: Number(process.env.TASKWIRE_SEED ?? Date.now() % 1e6), say: (line) => t.diagnostic(line) });
});
