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
  let single; // one batch at a time
  let double; // two, of which each has every other shard
  let me;

  before(async () => {
    bench = await Bench.start({ settings: { WRITER_CONNECTIONS: 1 } });
    single = bench.taskwire;
    double = await bench.program({ WRITER_CONNECTIONS: 2 }).start();
    me = await Client.register(single.url);
  });
  after(() => bench?.stop());

  const idOf = (task) => bench.cluster.value(`SELECT id FROM event WHERE task = '${task.id}'`).then(Number);
  const shardOf = async (list) => Number(await bench.cluster.value(`SELECT shard FROM stream WHERE id = '${list.id}'`));

  async function queue(program) {
    const { actors } = granted(await new Client(program.adminUrl).get('/actors'));
    return actors.find((actor) => actor.name === 'writer').notes.queue;
  }

  // A list in a shard that fits.
  async function listIn(client, fits) {
    for (;;) {
      const list = await client.list();
      if (fits(await shardOf(list))) return list;
    }
  }

  it('of a batch, only the command that the database refuses is refused', async (t) => {
    const list = await me.list();
    const hold = await Hold.allShards(bench.cluster);
    t.after(() => hold.release());
    const first = me.task(list.id);
    await hold.untilWaited();
    const good = Array.from({ length: 10 }, () => me.task(list.id, { id: uuid() }));
    const taken = new Client(single.url).post('/v1/accounts', { email: me.email, password: me.password });
    const more = Array.from({ length: 10 }, () => me.task(list.id, { id: uuid() }));
    await waitFor(async () => (await queue(single)) === 21, 'all of them wait');
    await hold.release();
    refused(await taken, 409, 'exists');
    const tasks = await Promise.all([first, ...good, ...more]);
    assert.deepEqual(tasks.map((task) => task.rev).sort((a, b) => a - b), Array.from({ length: 21 }, (_, i) => i + 2));
    for (const task of tasks) assert.equal(granted(await me.get(`/v1/tasks/${task.id}`)).title, task.title);
  });

  it('what cannot be applied yet keeps what follows in its list, and of its author, behind it', async (t) => {
    const friend = await Client.register(double.url);
    const others = await Promise.all(Array.from({ length: 3 }, () => Client.register(double.url)));
    const mine = Object.assign(new Client(double.url, me.token), { account: me.account });
    const held = await listIn(mine, (shard) => shard % 2 === 0);
    const free = await listIn(mine, (shard) => shard % 2 === 1);
    const freeShard = await shardOf(free);
    granted(await mine.post(`/v1/lists/${free.id}/members`, { email: friend.email, role: 'editor' }), 201);
    const theirs = await Promise.all(others.map((other) => listIn(other, (shard) => shard % 2 === 1 && shard !== freeShard)));
    const hold = await Hold.shardsOf(bench.cluster, [held.id]);
    t.after(() => hold.release());
    const first = mine.task(held.id);
    await hold.untilWaited();
    // The same author, in a list that nobody holds; then somebody else in that list.
    const second = mine.task(free.id);
    await waitFor(async () => (await queue(double)) === 1 || (await shardIsUsed(free)), 'the second command is with the writer');
    const third = friend.task(free.id);
    await waitFor(async () => (await queue(double)) === 2 || (await shardIsUsed(free)), 'the third command is with the writer');
    // Others are not held up; and what might have gone before them has gone.
    await Promise.any(others.map((other, i) => other.task(theirs[i].id)));
    assert.equal(await hold.waiters(), 1);
    await hold.release();
    const ids = await Promise.all([first, second, third].map(async (task) => idOf(await task)));
    assert.deepEqual(ids, [...ids].sort((a, b) => a - b), 'in the order in which they came');
  });

  it('who waits when the program is asked to end gets the answer first', async (t) => {
    const list = await me.list();
    const hold = await Hold.shardsOf(bench.cluster, [list.id]);
    t.after(() => hold.release());
    const tasks = Promise.all([1, 2].map(() => new Client(double.url, me.token).task(list.id)));
    await hold.untilWaited();
    double.signal('SIGTERM');
    await waitFor(() => double.log.includes('asked to stop'), 'it is about to end');
    const asked = Date.now();
    await waitFor(() => Date.now() - asked > 1500, 'longer than connections without a question are left');
    await hold.release();
    assert.deepEqual((await tasks).map((task) => task.rev).sort(), [2, 3]);
    assert.equal((await double.ended).code, 0);
  });

  const shardIsUsed = async (list) => (await bench.cluster.value(
    `SELECT count(*) FROM event e JOIN stream s ON s.id = e.stream WHERE s.id = '${list.id}' AND e.type = 1`)) !== '0';
});
