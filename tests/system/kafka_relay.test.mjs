// SPDX-License-Identifier: Apache-2.0
// What the relay brings into the topics, read by an independent client: every event, in the order of its stream, and of
// each task its newest state, whatever becomes of the broker, the producer and the relay meanwhile.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Client } from '../lib/client.mjs';
import { Kafka, text } from '../lib/kafka.mjs';
import { Bench } from '../lib/program.mjs';
import { waitFor } from '../lib/wait.mjs';

describe('the relay in Kafka mode', () => {
  let kafka;
  let bench;
  let me;
  before(async () => {
    kafka = await Kafka.start();
    bench = await Bench.start({ kafka });
    me = await Client.register(bench.taskwire.url);
  });
  after(async () => {
    await bench?.stop();
    await kafka?.remove();
  });

  const named = (topic) => `${bench.prefix()}${topic}`;
  const value = (sql) => bench.cluster.value(sql);
  const published = () => waitFor(async () => (await value(`SELECT count(*) FROM (SELECT shard, max(id) AS id FROM event GROUP BY shard) e
    LEFT JOIN relay_position p ON p.actor = 'kafka' AND p.shard = e.shard WHERE p.id IS DISTINCT FROM e.id`)) === '0', 'all is published', 60_000).catch(async (error) => {
    throw new Error(`${error.message}\n${await (await fetch(`${bench.taskwire.adminUrl}/actors`)).text()}\n${bench.taskwire.log.slice(-4000)}`);
  });

  // Every event of the log is in the topic, and of each stream the first time in order; each names the one before it.
  async function checkEvents() {
    await published();
    const records = await kafka.records(named('task-events'));
    const log = await bench.cluster.query('SELECT stream, rev, id, shard FROM event ORDER BY id');
    const partitions = (await kafka.partitions(named('task-events'))).length;
    const firsts = new Map();
    const last = new Map();
    for (const record of records) {
      const event = JSON.parse(record.value);
      const [epoch, shard, id, before] = text(record.headers['taskwire-position']).split(':');
      assert.equal(record.partition, Number(shard) % partitions);
      assert.equal(text(record.key), event.partitionkey);
      assert.equal(event.source, `taskwire/${epoch}`);
      assert.ok(Number(before) < Number(id));
      if (firsts.has(event.id)) continue;
      firsts.set(event.id, { id, before, shard });
      const rev = Number(event.sequence);
      assert.equal(rev, (last.get(event.partitionkey) ?? 0) + 1, `${event.id} comes in order`);
      last.set(event.partitionkey, rev);
    }
    const previous = new Map();
    for (const [stream, rev, id, shard] of log) {
      const first = firsts.get(`${stream}/${rev}`);
      assert.ok(first, `${stream}/${rev} is there`);
      assert.deepEqual([first.id, first.shard, first.before], [id, shard, previous.get(shard) ?? '0']);
      previous.set(shard, id);
    }
    assert.equal(firsts.size, log.length);
    return records;
  }

  // The last record of each key is the task as it is, or a tombstone.
  async function checkUpdates() {
    await published();
    const newest = new Map();
    const places = new Map();
    for (const { key, value: body, partition } of await kafka.records(named('task-updates'))) {
      assert.equal(places.get(text(key)) ?? partition, partition, 'a key stays in its partition');
      places.set(text(key), partition);
      newest.set(text(key), body);
    }
    const live = new Map((await bench.cluster.query(`SELECT t.list || '/' || t.id, t.title, t.rev FROM task t JOIN list l ON l.id = t.list
      WHERE t.deleted_at IS NULL AND l.deleted_at IS NULL`)).map(([key, ...row]) => [key, row]));
    for (const [key, [title, rev]] of live) {
      const { data } = JSON.parse(newest.get(key) ?? 'null') ?? {};
      assert.deepEqual([data?.title, String(data?.rev)], [title, rev], key);
    }
    for (const [key, body] of newest) if (!live.has(key)) assert.equal(body, null, `${key} is a tombstone`);
    return newest;
  }

  it('brings every event into task-events, in order', async () => {
    const list = await me.list();
    const task = await me.task(list.id, { title: 'Ä "quoted"' });
    await me.patch(`/v1/tasks/${task.id}`, { notes: 'x'.repeat(65_000) });
    await me.post(`/v1/tasks/${task.id}/complete`, {});
    const records = await checkEvents();
    assert.ok(records.length >= 5);
    await checkUpdates();
  });

  it('keeps of each task the newest state in task-updates, and tombstones of those that are gone', async () => {
    const [from, to] = [await me.list('from'), await me.list('to')];
    const tasks = [];
    for (let i = 0; i < 6; i++) tasks.push(await me.task(from.id, { title: `task ${i}` }));
    await me.patch(`/v1/tasks/${tasks[0].id}`, { title: 'other' });
    await me.delete(`/v1/tasks/${tasks[1].id}`);
    await me.post(`/v1/tasks/${tasks[2].id}/move`, { list: to.id });
    let newest = await checkUpdates();
    assert.equal(newest.get(`${from.id}/${tasks[1].id}`), null);
    assert.equal(newest.get(`${from.id}/${tasks[2].id}`), null);
    assert.ok(newest.get(`${to.id}/${tasks[2].id}`));
    await me.delete(`/v1/lists/${from.id}`);
    newest = await checkUpdates();
    for (const task of tasks) assert.equal(newest.get(`${from.id}/${task.id}`), null);
    await me.post(`/v1/lists/${from.id}/restore`, {});
    newest = await checkUpdates();
    assert.equal(JSON.parse(newest.get(`${from.id}/${tasks[0].id}`)).data.title, 'other');
    assert.equal(newest.get(`${from.id}/${tasks[1].id}`), null, 'what was deleted before stays so');
  });

  it('goes on where it was after a start, and after the broker was killed under it', async () => {
    const list = await me.list();
    let isOver = false;
    const writing = (async () => {
      for (let i = 0; !isOver; i++) await me.task(list.id, { title: `under trouble ${i}` });
    })();
    await kafka.kill();
    await kafka.start();
    await kafka.pause();
    await waitFor(async () => Number(await bench.taskwire.metric('taskwire_kafka_producer_queue_records')) > 3, 'records wait');
    const before = Number(await bench.taskwire.metric('taskwire_kafka_records_acknowledged_total'));
    await kafka.resume();
    await waitFor(async () => Number(await bench.taskwire.metric('taskwire_kafka_records_acknowledged_total')) > before, 'they arrive', 60_000);
    isOver = true;
    await writing;
    await published();
    await bench.taskwire.stop();
    await bench.taskwire.start();
    me.url = bench.taskwire.url;
    await me.task(list.id, { title: 'after the start' });
    await checkEvents();
    await checkUpdates();
  });

  it('uses partitions that were added, and loses nothing by that', async () => {
    await kafka.addPartitions(named('task-events'), 5);
    await waitFor(() => /topic=\S*task-events partitions=5/.test(bench.taskwire.log), 'it has noticed', 30_000);
    const list = await me.list();
    for (let i = 0; i < 20; i++) await me.task(list.id);
    await published();
    const ids = new Set((await kafka.records(named('task-events'))).map((record) => JSON.parse(record.value).id));
    assert.equal(String(ids.size), await value('SELECT count(*) FROM event'));
  });

  it('publishes a key again that another relay has written', async () => {
    const list = await me.list();
    const [kept, gone] = [await me.task(list.id, { title: 'as it is' }), await me.task(list.id)];
    await me.delete(`/v1/tasks/${gone.id}`);
    await checkUpdates();
    const old = (task) => ({ key: `${list.id}/${task}`, value: JSON.stringify({ data: { title: 'as it was', rev: 1 } }), headers: { 'taskwire-relay': 'a frozen one' } });
    const never = '01234567-89ab-7def-8123-456789abcdef';
    const partition = Number(await value(`SELECT shard FROM event WHERE stream = '${list.id}' LIMIT 1`)) % 3;
    await kafka.send(named('task-updates'), [kept.id, gone.id, never].map((task) => ({ ...old(task), partition })));
    await kafka.send(named('task-updates'), [{ key: 'no key of ours', value: 'x', partition }]);
    await waitFor(async () => (await bench.taskwire.metric('taskwire_kafka_updates_mended_total')) >= 3, 'they were looked up');
    await waitFor(async () => {
      const newest = new Map((await kafka.records(named('task-updates'))).map((record) => [text(record.key), record.value]));
      return newest.get(`${list.id}/${gone.id}`) === null && newest.get(`${list.id}/${never}`) === null &&
        JSON.parse(newest.get(`${list.id}/${kept.id}`)).data.title === 'as it is';
    }, 'the topic is as the database is');
  });

  it('writes task-updates anew for a new epoch of the database', async () => {
    const epoch = () => value('SELECT epoch FROM log_epoch');
    const written = () => value("SELECT epoch FROM kafka_topic WHERE name LIKE '%task-updates'");
    const former = await epoch();
    await waitFor(async () => (await written()) === former, 'it was written for this one');
    const list = await me.list();
    const [kept, lost] = [await me.task(list.id), await me.task(list.id)];
    await published();
    await bench.taskwire.stop();
    // What a backup that is older than the task knows of it.
    await value(`CREATE TABLE aside AS SELECT * FROM task WHERE id = '${lost.id}'`);
    await value(`DELETE FROM task WHERE id = '${lost.id}'`);
    await value("UPDATE log_epoch SET timeline = '000000FF'");
    await bench.taskwire.start();
    me.url = bench.taskwire.url;
    await waitFor(async () => (await epoch()) !== former && (await written()) === (await epoch()), 'it is written for the new one', 60_000);
    const newest = new Map((await kafka.records(named('task-updates'))).map((record) => [text(record.key), record.value]));
    assert.equal(newest.get(`${list.id}/${lost.id}`)?.toString() ?? null, null, bench.taskwire.log.slice(-3000) + kept.id + list.id + await epoch());
    assert.ok(newest.get(`${list.id}/${kept.id}`));
    for (const [key, body] of newest) if (body && key.includes('/')) assert.equal(JSON.parse(body).source, `taskwire/${await epoch()}`, key);
    await value('INSERT INTO task SELECT * FROM aside'); // for the log of this database knows it
  });

  it('writes task-updates anew when it was deleted', async () => {
    const list = await me.list();
    for (let i = 0; i < 3; i++) await me.task(list.id, { title: `kept ${i}` });
    await published();
    const keys = (await bench.cluster.query(`SELECT id FROM task WHERE list = '${list.id}'`)).map(([id]) => `${list.id}/${id}`);
    assert.equal(keys.length, 3);
    await kafka.deleteTopics(named('task-updates'));
    await me.task(list.id, { title: 'meanwhile' });
    await waitFor(() => /task-updates was made anew/.test(bench.taskwire.log), 'it has noticed', 30_000);
    await waitFor(async () => (await value(`SELECT count(*) FROM kafka_topic WHERE epoch IS NULL`)) === '0', 'it is written', 60_000);
    const newest = await checkUpdates();
    for (const key of keys) assert.ok(newest.get(key), `${key} is there again`);
  });

  it('takes no event that the broker refuses for more than that: it becomes a dead letter, the others go on', async () => {
    const admin = await kafka.admin();
    await admin.alterConfigs({ resources: [{ type: 2, name: named('task-events'), configEntries: [{ name: 'max.message.bytes', value: '20000' }] }] });
    const list = await me.list();
    const large = await me.task(list.id, { notes: Array.from({ length: 6000 }, () => Math.random().toString(36).slice(2, 11)).join('') });
    for (let i = 0; i < 10; i++) await me.task(list.id, { title: `small ${i}` });
    await published();
    const dead = await bench.cluster.query("SELECT event_id, reason FROM dead_letter WHERE actor = 'kafka'");
    assert.equal(dead.length, 1, JSON.stringify(dead));
    assert.match(dead[0][1], /Kafka refuses it/);
    const ids = new Set((await kafka.records(named('task-events'))).map((record) => JSON.parse(record.value).id));
    assert.equal(ids.size, Number(await value('SELECT count(*) FROM event')) - 1);
    assert.ok(!ids.has(`${list.id}/${large.rev}`));
  });
});
