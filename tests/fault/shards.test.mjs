// SPDX-License-Identifier: Apache-2.0
// Two processes that write to the same few lists at the same time: within a shard they go one after the other, so nothing
// is lost, refused or out of order.
import { describe, it, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { Bench, command as runCommand } from '../lib/program.mjs';
import { Client, uuid } from '../lib/client.mjs';
import { granted } from '../lib/expect.mjs';
import { Follower } from '../lib/follower.mjs';
import { Hold } from '../lib/hold.mjs';
import { readAll } from '../lib/pages.mjs';
import { random, waitFor } from '../lib/wait.mjs';

const seed = Number(process.env.TASKWIRE_SEED ?? Date.now() % 1_000_000);

describe('shards', () => {
  let bench;
  let programs;
  let me;

  const through = (program) => new Client(program.url, me.token);

  before(async () => {
    bench = await Bench.start();
    programs = [bench.taskwire, await bench.program().start()];
    me = await Client.register(bench.taskwire.url);
  });
  after(() => bench?.stop());

  it('who writes to a shard that is held waits, in every process, and goes on where the holder ended', async (t) => {
    const list = await me.list();
    const hold = await Hold.shardsOf(bench.cluster, [list.id]);
    t.after(() => hold.release());
    const writing = Promise.all(programs.map((program) => through(program).task(list.id)));
    await hold.untilWaited(programs.length);
    assert.equal(await bench.cluster.value(`SELECT head FROM stream WHERE id = '${list.id}'`), '1');
    await hold.release();
    const revs = (await writing).map((task) => task.rev);
    assert.deepEqual(revs.sort(), [2, 3]);
  });

  // A task that everybody adds tags to, and others that come and go.
  async function churn(client, list, shared, dice, tag) {
    const change = async (n) => {
      granted(await client.patch(`/v1/tasks/${shared}`, { tags: n % 2 ? { remove: [`${tag}-${n - 1}`] } : { add: [`${tag}-${n}`] } }));
    };
    for (let n = 0; n < 15; n++) {
      const task = await client.task(list.id, { title: tag });
      await change(n);
      if (dice.chance(0.3)) granted(await client.post(`/v1/tasks/${task.id}/complete`));
      if (dice.chance(0.2)) granted(await client.delete(`/v1/tasks/${task.id}`));
    }
  }

  it('many who change the same lists through both processes lose nothing and are refused nothing', async (t) => {
    t.diagnostic(`TASKWIRE_SEED=${seed}`);
    const lists = [await me.list(), await me.list()];
    const shared = lists.map(() => uuid());
    await Promise.all(lists.map((list, i) => me.task(list.id, { id: shared[i], title: 'shared' })));
    const followers = programs.map((program) => new Follower(program.url, me.token, lists.map((list) => list.id)));
    t.after(() => followers.forEach((follower) => follower.stop()));
    await Promise.all(Array.from({ length: 12 }, (_, i) =>
      churn(through(programs[i % 2]), lists[(i >> 1) % 2], shared[(i >> 1) % 2], random(seed + i), `w${i}`)));
    for (const [i, list] of lists.entries()) {
      const { head, open } = granted(await me.get(`/v1/lists/${list.id}`));
      const events = await readAll(me, `/v1/lists/${list.id}/events`, { limit: 500 });
      assert.deepEqual(events.map((event) => event.rev), Array.from({ length: head }, (_, k) => k + 1));
      assert.equal(new Set(events.map((event) => event.command)).size, events.length, 'every command once');
      const { tags } = granted(await me.get(`/v1/tasks/${shared[i]}`));
      assert.deepEqual(tags.sort(), [0, 1, 4, 5, 8, 9].map((n) => `w${n + 2 * i}-14`).sort());
      const tasks = await readAll(me, `/v1/lists/${list.id}/tasks`, { limit: 500 });
      assert.equal(tasks.length, open);
      for (const follower of followers) {
        const stream = follower.streams.get(list.id);
        await waitFor(() => stream.rev === head, 'the follower is at the head');
        const followed = [...stream.tasks.values()].filter((task) => task.status === 'open' && task.deleted_at === null);
        assert.deepEqual(new Map(followed.map((task) => [task.id, task])), new Map(tasks.map((task) => [task.id, task])));
      }
    }
    for (const { faults } of followers) assert.deepEqual(faults, [], 'each rev came once and in order');
  });

  it('in the log, what came later has the larger id, and all of it is handled and audited', async () => {
    const backwards = await bench.cluster.query(`SELECT * FROM (SELECT stream, rev, id, lag(id) OVER (PARTITION BY stream ORDER BY rev)
      AS before FROM event) e WHERE id <= before`);
    assert.deepEqual(backwards, []);
    await waitFor(async () => (await bench.cluster.value(`SELECT count(*) FROM stream s LEFT JOIN audit_head h ON h.stream = s.id
      WHERE h.rev IS DISTINCT FROM s.head`)) === '0', 'all is audited');
    assert.equal(await bench.cluster.value('SELECT count(*) FROM dead_letter'), '0');
    const verified = await runCommand(['verify'], bench.taskwire.environment());
    assert.equal(verified.code, 0, verified.stdout + verified.stderr);
  });
});
