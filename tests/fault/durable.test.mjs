// SPDX-License-Identifier: Apache-2.0
// What was acknowledged is on disk: the database may crash in the same moment.
import test, { before, after } from 'node:test';
import assert from 'node:assert/strict';
import { Bench } from '../lib/program.mjs';
import { Client } from '../lib/client.mjs';
import { granted } from '../lib/expect.mjs';
import { Hold } from '../lib/hold.mjs';
import { waitFor } from '../lib/wait.mjs';

let bench;

before(async () => {
  // Whatever is not flushed with its commit stays in memory for long.
  bench = await Bench.start({ start: false, cluster: ['wal_writer_delay=10s'] });
});

after(() => bench?.stop());

test('what was acknowledged survives a crash of the database right afterwards', { timeout: 60_000 }, async () => {
  // Without a relay nobody else commits anything, which would take our commits to disk along with its own.
  await Hold.of(bench.cluster, 'SELECT pg_advisory_lock(7462, 0)');
  const program = await bench.program().start();
  const client = await Client.register(program.url);
  const list = await client.list();
  const tasks = [];
  for (let i = 0; i < 5; i++) tasks.push(await client.task(list.id));
  await bench.cluster.kill();
  await bench.cluster.start();
  const events = (await bench.cluster.query(`SELECT rev FROM event WHERE stream = '${list.id}' ORDER BY rev`)).flat();
  assert.deepEqual(events, ['1', '2', '3', '4', '5', '6']);
  await waitFor(async () => (await client.get('/readyz')).status === 200, 'taskwire is ready again');
  for (const task of tasks) assert.deepEqual(granted(await client.get(`/v1/tasks/${task.id}`)), task);
});
