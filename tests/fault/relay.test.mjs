// SPDX-License-Identifier: Apache-2.0
// What is wrong in the log holds up nobody but those whom it is about, however much of it there is.
import { describe, it, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { Bench } from '../lib/program.mjs';
import { Client, uuid } from '../lib/client.mjs';
import { waitFor } from '../lib/wait.mjs';

describe('the relay', () => {
  let bench;
  let me;

  before(async () => {
    bench = await Bench.start();
    me = await Client.register(bench.taskwire.url);
  });
  after(() => bench?.stop());

  const value = (sql) => bench.cluster.value(sql);
  // Rows that no writer wrote: in each of the shards `n` events of a stream, with bodies that say nothing.
  const add = (shards, command, n, digest = "decode(repeat('00', 32), 'hex')") => value(`INSERT INTO event (shard, stream, rev, type,
    task, command, by, is_answer, at, epoch, digest, salt, body) SELECT s, ('00000000-0000-7000-8000-' || lpad(s::text, 6, '0') ||
    '${randomBytes(3).toString('hex')}')::uuid, g, 2, gen_random_uuid(), '${command}', gen_random_uuid(), false, now(), epoch,
    ${digest}, decode(repeat('00', 16), 'hex'), 'x' FROM log_epoch, unnest(ARRAY[${shards}]) s, generate_series(1, ${n}) g`);

  it('stores more dead letters of one batch than there can be statements under way, and goes on', async () => {
    const command = uuid();
    await add([7, 8, 9, 10, 11], command, 500);
    await waitFor(async () => (await value(`SELECT count(*) FROM dead_letter d JOIN event e ON e.id = d.event_id
      WHERE d.actor = 'reminder' AND e.command = '${command}'`)) === '2500', 'all are dead letters');
    await waitFor(async () => (await value(`SELECT count(*) FROM event e JOIN relay_position p ON p.actor = 'reminder' AND p.shard = e.shard
      AND p.id >= e.id WHERE e.command = '${command}'`)) === '2500', 'the reminder actor has passed them');
  });

  it('goes on in every shard when a row of one was written by no writer', async () => {
    await add([0], uuid(), 1, "'\\x00'");
    for (let i = 0; i < 8; i++) {
      const list = await me.list();
      const task = await me.task(list.id, { reminders: [{ at: new Date(Date.now() + 300).toISOString(), for: 'all' }] });
      await waitFor(async () => (await value(`SELECT count(*) FROM event WHERE task = '${task.id}' AND type = 11`)) === '1', 'the reminder fires');
    }
    assert.equal((await me.get('/healthz')).status, 200);
  });
});
