// SPDX-License-Identifier: Apache-2.0
// What the log brings about in Kafka mode happens, and happens once, whatever becomes of the group's offsets, of the topic
// and of the processes that share its partitions.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Client } from '../lib/client.mjs';
import { granted } from '../lib/expect.mjs';
import { Kafka } from '../lib/kafka.mjs';
import { Bench } from '../lib/program.mjs';
import { waitFor } from '../lib/wait.mjs';

describe('the consumer', () => {
  let kafka;
  let bench;
  let me;
  let list;
  const settings = { KAFKA_SESSION_TIMEOUT_MS: '6000', KAFKA_TOPIC_METADATA_REFRESH_INTERVAL_MS: '2000' };

  before(async () => {
    kafka = await Kafka.any();
    bench = await Bench.start({ kafka, settings });
    me = await Client.register(bench.taskwire.url);
    list = await me.list();
  });
  after(async () => {
    await bench?.stop();
    await kafka?.remove();
  });

  const topic = () => `${bench.prefix()}task-events`;
  const group = () => `${bench.prefix()}taskwire`;
  const number = async (sql) => Number(await bench.cluster.value(sql));
  const settled = (limitMs = 40_000) => waitFor(async () => (await number(`SELECT count(*) FROM (SELECT shard, max(id) AS top FROM event GROUP BY shard) e
    CROSS JOIN (VALUES ('recurrence'), ('reminder'), ('audit')) a(actor) LEFT JOIN relay_position p ON p.actor = a.actor AND p.shard = e.shard
    WHERE p.id IS DISTINCT FROM e.top`)) === 0, 'every event is handled by every actor', limitMs);

  // Completes recurring tasks, in lists that lie in several partitions.
  async function complete(n = 1) {
    for (let i = 0; i < n; i++) {
      const home = i % 3 === 0 ? list : await me.list();
      const task = await me.task(home.id, { due: '2030-01-01', recurrence: { rule: 'daily' } });
      granted(await me.post(`/v1/tasks/${task.id}/complete`));
    }
  }

  // Each closed occurrence has one successor, and each stream a whole chain.
  async function check() {
    await settled();
    assert.equal(await number(`SELECT count(*) FROM (SELECT series, occurrence FROM task WHERE series IS NOT NULL AND deleted_at IS NULL GROUP BY 1, 2 HAVING count(*) > 1) twice`), 0);
    await waitFor(async () => (await number(`SELECT count(*) FROM task d WHERE d.status = 2 AND d.series IS NOT NULL AND NOT EXISTS
      (SELECT 1 FROM task n WHERE n.series = d.series AND n.occurrence = d.occurrence + 1)`)) === 0, 'each has its successor');
    await settled();
    assert.equal(await number(`SELECT count(*) FROM (SELECT stream, max(rev) AS rev FROM event GROUP BY stream) s LEFT JOIN audit_head h ON h.stream = s.stream
      WHERE h.rev IS DISTINCT FROM s.rev`), 0);
  }

  it('hands every event to every actor', async () => {
    await complete(6);
    await check();
    assert.equal(await bench.taskwire.metric('taskwire_consumer_poison_total'), 0);
  });

  for (const where of [0, 'end']) {
    it(`goes on by its positions when the offsets are moved to ${where === 0 ? 'the start' : 'the end'}`, async () => {
      await bench.taskwire.stop();
      await waitFor(async () => ((await kafka.groups()).get(group())?.members ?? 0) === 0, 'the group is empty');
      await kafka.setOffsets(group(), topic(), where);
      await bench.taskwire.start();
      await complete(2);
      await check();
    });
  }

  it('begins at the start of a topic that was made anew', async () => {
    await kafka.deleteTopics(topic());
    await waitFor(async () => (await kafka.topics(bench.prefix())).includes(topic()), 'the topic is there again');
    await complete(3);
    await check();
  });

  it('shares the partitions with another process, and has all of them when that one is killed', async () => {
    const other = await bench.program(settings).start();
    const partitions = (program) => program.metric('taskwire_consumer_partitions');
    await waitFor(async () => (await partitions(other)) > 0 && (await partitions(bench.taskwire)) + (await partitions(other)) === 3, 'both have some', 40_000);
    await complete(6);
    await check();
    await complete(3);
    await other.kill();
    await complete(3);
    await waitFor(async () => (await partitions(bench.taskwire)) === 3, 'one has all', 40_000);
    await check();
  });

  it('loses and doubles nothing when partitions are added', async () => {
    await complete(2);
    await kafka.addPartitions(topic(), 5);
    await complete(6);
    await waitFor(async () => (await bench.taskwire.metric('taskwire_consumer_partitions')) === 5, 'all five are read', 40_000);
    await complete(3);
    await check();
  });

  it('joins again when it was frozen past its session timeout', async () => {
    const other = await bench.program(settings).start();
    const all = (program) => waitFor(async () => (await program.metric('taskwire_consumer_partitions')) === 5, 'one has all', 60_000);
    await waitFor(async () => (await other.metric('taskwire_consumer_partitions')) > 0, 'both have some', 40_000);
    other.signal('SIGSTOP');
    await all(bench.taskwire);
    await complete(3);
    other.signal('SIGCONT');
    await waitFor(async () => (await other.metric('taskwire_consumer_rebalances_total')) > 0
      && (await other.metric('taskwire_consumer_partitions')) > 0, 'it has some again', 60_000);
    await complete(3);
    await check();
    await other.stop();
  });

  it('goes on without a name when another process has the same', async () => {
    const members = async () => (await kafka.groups()).get(group())?.members;
    await waitFor(async () => (await members()) === 1, 'nobody else is in the group', 40_000);
    const twins = [bench.program({ ...settings, KAFKA_INSTANCE: 'twin' }), bench.program({ ...settings, KAFKA_INSTANCE: 'twin' })];
    await Promise.all(twins.map((twin) => twin.start()));
    const fenced = () => Promise.all(twins.map((twin) => twin.metric('taskwire_consumer_fenced')));
    await waitFor(async () => (await fenced()).reduce((sum, n) => sum + n) === 1, 'one of them has no name', 60_000);
    await waitFor(async () => (await members()) === 3, 'both are in the group', 40_000);
    const all = [bench.taskwire, ...twins];
    const partitions = () => Promise.all(all.map((program) => program.metric('taskwire_consumer_partitions')));
    await waitFor(async () => (await partitions()).every((n) => n > 0), 'all have partitions', 60_000);
    await complete(3);
    await check();
    for (const twin of twins) await twin.stop();
  });
});
