// SPDX-License-Identifier: Apache-2.0
// Verifying lists for clients, while it takes long.
import test from 'node:test';
import assert from 'node:assert/strict';
import { Bench } from '../lib/program.mjs';
import { Client } from '../lib/client.mjs';
import { granted } from '../lib/expect.mjs';
import { Hold } from '../lib/hold.mjs';
import { waitFor } from '../lib/wait.mjs';

const GATEWAYS = 5; // one more than there are threads for passwords in the process

test('while every gateway verifies a list people can log in', { timeout: 120_000 }, async () => {
  const bench = await Bench.start({ settings: { GATEWAYS } });
  let hold;
  try {
    const { url } = bench.taskwire;
    const ann = await Client.register(url);
    const list = await ann.list();
    await ann.task(list.id);
    hold = await Hold.of(bench.cluster, 'LOCK TABLE audit IN ACCESS EXCLUSIVE MODE');
    // Each waits on a connection of its own, and those are dealt to the gateways in turn.
    const verdicts = Promise.all(Array.from({ length: 3 * GATEWAYS }, () => ann.get(`/v1/audit/${list.id}/verify`)));
    await waitFor(async () => Number(await bench.cluster.value(`SELECT count(*) FROM pg_stat_activity
      WHERE application_name = 'taskwire verify' AND wait_event_type = 'Lock'`)) === GATEWAYS, 'every gateway verifies');
    const logins = await Promise.all(Array.from({ length: GATEWAYS }, () => new Client(url).post('/v1/sessions', {
      email: ann.email, password: ann.password,
    })));
    for (const login of logins) granted(login, 201);
    await hold.release();
    for (const verdict of await verdicts) assert.equal(granted(verdict).ok, true);
  } finally {
    await hold?.release();
    await bench.stop();
  }
});
