// SPDX-License-Identifier: Apache-2.0
// While Kafka is away: what goes on, and what comes afterwards.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Client } from '../lib/client.mjs';
import { Kafka } from '../lib/kafka.mjs';
import { granted } from '../lib/expect.mjs';
import { Bench } from '../lib/program.mjs';
import { checkEvents, eventsOf, everyEventIsIn, follow, lastOf } from '../lib/topics.mjs';
import { waitFor } from '../lib/wait.mjs';

// A task with a successor, and one that is reminded of.
async function live(me) {
  const home = await me.list('Home');
  const weekly = await me.task(home.id, { due: '2030-01-01', recurrence: { rule: 'weekly' } });
  granted(await me.post(`/v1/tasks/${weekly.id}/complete`, {}));
  const reminded = await me.task(home.id, { reminders: [{ at: new Date(Date.now() + 300).toISOString(), for: 'all' }] });
  return { weekly, reminded };
}

async function comeToRest(bench, { weekly, reminded }) {
  const count = (sql) => waitFor(async () => (await bench.cluster.value(sql)) === '1', sql, 30_000);
  await count(`SELECT count(*) FROM task WHERE series = '${weekly.id}' AND occurrence = 2`);
  await count(`SELECT count(*) FROM event WHERE task = '${reminded.id}' AND type = 11`);
}

describe('while Kafka is away', () => {
  let own;
  let bench;
  before(async () => {
    own = await Kafka.start({ start: false });
    bench = await Bench.start({ kafka: own });
  });
  after(async () => {
    await bench?.stop();
    await own?.remove();
  });

  it('the program starts, takes writes and is ready, and everything catches up afterwards', async () => {
    const { taskwire } = bench;
    const me = await Client.register(taskwire.url);
    const made = await live(me);
    const readiness = async () => {
      const answer = await fetch(`${taskwire.adminUrl}/readyz`);
      assert.equal(answer.status, 200);
      return (await answer.json()).status;
    };
    await waitFor(async () => (await readiness()) === 'degraded', 'it says that it is degraded', 30_000);
    await own.start();
    await comeToRest(bench, made);
    const topics = await follow(own, bench);
    await everyEventIsIn(bench, topics.events);
    checkEvents(topics.events.records, await eventsOf(bench), { partitions: 3 });
    await waitFor(async () => (await readiness()) === 'ready', 'it is ready again', 30_000);
  });

  it('the program ends in bounded time when the broker is frozen', async () => {
    const me = await Client.register(bench.taskwire.url);
    await own.pause();
    try {
      await live(me);
      const started = performance.now();
      const exit = await bench.taskwire.stop();
      assert.deepEqual([exit.code, exit.signal], [0, null]);
      assert.ok(performance.now() - started < 15_000, `it took ${performance.now() - started} ms`);
    } finally {
      await own.resume();
    }
    await bench.taskwire.start();
    const topics = await follow(own, bench);
    await everyEventIsIn(bench, topics.events);
    checkEvents(topics.events.records, await eventsOf(bench), { partitions: 3 });
    assert.equal(lastOf(topics.updates.records).size > 0, true);
  });
});
