// SPDX-License-Identifier: Apache-2.0
// What queues up while the writer waits for a lock: it is applied in the order in which it came, and one command that the
// database refuses harms no other.
import { describe, it, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { Bench } from '../lib/program.mjs';
import { Client, uuid } from '../lib/client.mjs';
import { granted, refused } from '../lib/expect.mjs';
import { Hold } from '../lib/hold.mjs';
import { waitFor } from '../lib/wait.mjs';

describe('the writer', () => {
  let bench;
  let me;

  before(async () => {
    bench = await Bench.start();
    me = await Client.register(bench.taskwire.url);
  });
  after(() => bench?.stop());

  const idOf = (task) => bench.cluster.value(`SELECT id FROM event WHERE task = '${task.id}'`).then(Number);

  async function queue() {
    const { actors } = granted(await new Client(bench.taskwire.adminUrl).get('/actors'));
    return actors.find((actor) => actor.name === 'writer').notes.queue;
  }

  it('of a batch, only the command that the database refuses is refused', async (t) => {
    const list = await me.list();
    const hold = await Hold.allShards(bench.cluster);
    t.after(() => hold.release());
    const first = me.task(list.id);
    await hold.untilWaited();
    const good = Array.from({ length: 10 }, () => me.task(list.id, { id: uuid() }));
    const taken = new Client(bench.taskwire.url).post('/v1/accounts', { email: me.email, password: me.password });
    const more = Array.from({ length: 10 }, () => me.task(list.id, { id: uuid() }));
    await waitFor(async () => (await queue()) === 21, 'all of them wait');
    await hold.release();
    refused(await taken, 409, 'exists');
    const tasks = await Promise.all([first, ...good, ...more]);
    assert.deepEqual(tasks.map((task) => task.rev).sort((a, b) => a - b), Array.from({ length: 21 }, (_, i) => i + 2));
    for (const task of tasks) assert.equal(granted(await me.get(`/v1/tasks/${task.id}`)).title, task.title);
  });

  it('what comes while a batch waits is applied in the order in which it came, whoever asked', async (t) => {
    const friend = await Client.register(bench.taskwire.url);
    const held = await me.list();
    const free = await me.list();
    granted(await me.post(`/v1/lists/${free.id}/members`, { email: friend.email, role: 'editor' }), 201);
    const hold = await Hold.shardsOf(bench.cluster, [held.id]);
    t.after(() => hold.release());
    const tasks = [me.task(held.id)];
    await hold.untilWaited();
    // In turn in a list that nobody holds, by somebody else there, and in the one that is held.
    for (const ask of [() => me.task(free.id), () => friend.task(free.id), () => me.task(held.id), () => friend.task(free.id)]) {
      const n = tasks.push(ask());
      await waitFor(async () => (await queue()) === n - 1, `command ${n} waits`);
    }
    await hold.release();
    const ids = await Promise.all(tasks.map(async (task) => idOf(await task)));
    assert.deepEqual(ids, [...ids].sort((a, b) => a - b));
  });

  it('who waits when the program is asked to end gets the answer first', async (t) => {
    const list = await me.list();
    const hold = await Hold.shardsOf(bench.cluster, [list.id]);
    t.after(() => hold.release());
    const tasks = Promise.all([1, 2].map(() => me.task(list.id)));
    await hold.untilWaited();
    bench.taskwire.signal('SIGTERM');
    await waitFor(() => bench.taskwire.log.includes('asked to stop'), 'it is about to end');
    const asked = Date.now();
    await waitFor(() => Date.now() - asked > 1500, 'longer than connections without a question are left');
    await hold.release();
    assert.deepEqual((await tasks).map((task) => task.rev).sort(), [2, 3]);
    assert.equal((await bench.taskwire.ended).code, 0);
  });
});
