// SPDX-License-Identifier: Apache-2.0
// The topics as taskwire makes and minds them, and what it does while there is no Kafka.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Client } from '../lib/client.mjs';
import { Kafka } from '../lib/kafka.mjs';
import { Bench } from '../lib/program.mjs';
import { waitFor } from '../lib/wait.mjs';

const TOPICS = ['reminders', 'task-events', 'task-updates', 'taskwire-dead-letter'];
const CONFIG = 78;

async function readiness(program) {
  const response = await fetch(`${program.adminUrl}/readyz`);
  return { code: response.status, ...(await response.json()) };
}

const becomes = (program, status) => waitFor(async () => {
  const { code, ...said } = await readiness(program);
  return said.status === status && { code, ...said };
}, `it is ${status}`, 30_000);

describe('topics', () => {
  let kafka;
  let bench;
  before(async () => {
    kafka = await Kafka.start();
    bench = await Bench.start({ kafka });
  });
  after(async () => {
    await bench?.stop();
    await kafka?.remove();
  });

  const named = (topic) => `${bench.prefix()}${topic}`;
  const made = () => waitFor(async () => (await kafka.topics(bench.prefix())).length === TOPICS.length, 'the topics are there', 30_000);

  it('are made with their partitions and settings', async () => {
    await made();
    assert.deepEqual((await kafka.topics(bench.prefix())).sort(), TOPICS.map(named).sort());
    const counts = await Promise.all(TOPICS.map(async (topic) => (await kafka.partitions(named(topic))).length));
    assert.deepEqual(counts, [1, 3, 3, 1]);
    assert.deepEqual(await kafka.settings(named('task-updates'), 'cleanup.policy'), { 'cleanup.policy': 'compact' });
    assert.deepEqual(await kafka.settings(named('task-events'), 'cleanup.policy'), { 'cleanup.policy': 'delete' });
    assert.ok(Number((await kafka.settings(named('task-events'), 'max.message.bytes'))['max.message.bytes']) >= 2 ** 21);
    assert.deepEqual(await becomes(bench.taskwire, 'ready'), { code: 200, status: 'ready' });
    assert.equal(await bench.taskwire.metric('taskwire_kafka_up'), 1);
  });

  it('that were deleted are made anew', async () => {
    // One that goes before it has been seen is only made once more.
    await waitFor(() => /a topic is there topic=\S*task-events/.test(bench.taskwire.log), 'it is seen', 30_000);
    await (await kafka.admin()).deleteTopics({ topics: [named('task-events')], timeout: 15_000 });
    await waitFor(() => /a topic is missing topic=\S*task-events/.test(bench.taskwire.log), 'it has noticed', 30_000);
    await made();
  });

  it('while Kafka is away it serves clients, says why it is degraded, and recovers', async () => {
    const program = bench.taskwire;
    const me = await Client.register(program.url);
    await kafka.stop();
    const said = await becomes(program, 'degraded');
    assert.equal(said.code, 200);
    assert.match(said.reason, /Kafka/);
    const list = await me.post('/v1/lists', { title: 'without Kafka' });
    assert.equal(list.status, 201);
    await kafka.start();
    await becomes(program, 'ready');
  });

  it('a start without Kafka is a start', async () => {
    await kafka.stop();
    const program = await bench.program().start();
    assert.equal((await becomes(program, 'degraded')).code, 200);
    await Client.register(program.url);
    await program.stop();
    assert.deepEqual(program.exit, { code: 0, signal: null });
  });

  it('another number of partitions of task-updates stops the start, whether Kafka is there or not', async () => {
    for (const word of ['it_had', 'it_ha[sd]']) {
      if (word === 'it_had') await kafka.stop();
      else await kafka.start();
      const program = bench.program({ KAFKA_TASK_UPDATES_PARTITIONS: 5 });
      program.mayFail = true;
      await program.spawn().ended;
      assert.equal(program.exit.code, CONFIG, program.log);
      assert.match(program.log, new RegExp(`setting=TASKWIRE_KAFKA_TASK_UPDATES_PARTITIONS value=5 .*${word}=3`));
    }
    await becomes(bench.taskwire, 'ready');
  });

  it('partitions added to task-updates stop the program, those of task-events do not', async () => {
    await kafka.addPartitions(named('task-events'), 4);
    await waitFor(() => /topic=\S*task-events partitions=4/.test(bench.taskwire.log), 'it has noticed', 30_000);
    bench.taskwire.mayFail = true;
    await kafka.addPartitions(named('task-updates'), 4);
    await bench.taskwire.ended;
    assert.equal(bench.taskwire.exit.code, CONFIG, bench.taskwire.log);
    assert.match(bench.taskwire.log, /setting=TASKWIRE_KAFKA_TASK_UPDATES_PARTITIONS value=3 .*it_has=4/);
  });
});
