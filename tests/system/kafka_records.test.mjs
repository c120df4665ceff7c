// SPDX-License-Identifier: Apache-2.0
// What stands in the topics, as others read it: kafkajs, kcat, npm's cloudevents and @msgpack/msgpack, which know nothing of
// us; held against asyncapi.yaml, against the database, and against what GET answers.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { decode, encode } from '@msgpack/msgpack';
import { Kafka as Binding } from 'cloudevents';
import { Client } from '../lib/client.mjs';
import { Kafka, text } from '../lib/kafka.mjs';
import { Description } from '../lib/contract.mjs';
import { granted } from '../lib/expect.mjs';
import { Bench, command } from '../lib/program.mjs';
import { checkEvents, checkReminders, checkUpdates, dataOf, eventsOf, everyEventIsIn, follow, header, position, tasksOf } from '../lib/topics.mjs';
import { waitFor } from '../lib/wait.mjs';

const asyncapi = Description.read('asyncapi.yaml');
const TRACE = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
const openapi = Description.read('openapi.yaml');
let kafka;
before(async () => { kafka = await Kafka.any(); });
after(() => kafka?.remove());

const headersOf = (record) => Object.fromEntries(Object.entries(record.headers).map(([name, value]) => [name, text(value)]));

const soon = (ms = 300) => new Date(Date.now() + ms).toISOString();

// Something of every kind: tasks made, changed, closed with a successor, deleted with a subtask, moved, reminded of.
async function live(me) {
  const [home, work, gone] = [await me.list('Home'), await me.list('Work'), await me.list('Gone')];
  const task = await me.task(home.id, { title: 'Äpfel "kaufen" <🍎>', notes: 'line\n\ttab \\ '.repeat(200), tags: ['a', 'b'], priority: 'high' });
  granted(await me.patch(`/v1/tasks/${task.id}`, { title: 'Birnen', tags: { add: ['c'] } }, { traceparent: TRACE }));
  const weekly = await me.task(home.id, { due: '2030-01-01', recurrence: { rule: 'weekly' } });
  granted(await me.post(`/v1/tasks/${weekly.id}/complete`, {}, { traceparent: TRACE }));
  const parent = await me.task(home.id, { title: 'Parent' });
  const child = await me.task(home.id, { title: 'Child', parent: parent.id });
  granted(await me.delete(`/v1/tasks/${parent.id}`));
  const moved = await me.task(home.id, { title: 'Moved' });
  granted(await me.post(`/v1/tasks/${moved.id}/move`, { list: work.id }));
  const reminded = await me.task(home.id, { reminders: [{ at: soon(), for: 'all' }] });
  const lost = await me.task(gone.id);
  granted(await me.delete(`/v1/lists/${gone.id}`), 204);
  return { home, work, gone, task, weekly, parent, child, moved, reminded, lost };
}

async function comeToRest(bench, { weekly, reminded }) {
  const count = (sql) => waitFor(async () => (await bench.cluster.value(sql)) === '1', sql, 30_000);
  await count(`SELECT count(*) FROM task WHERE series = '${weekly.id}' AND occurrence = 2`);
  await count(`SELECT count(*) FROM event WHERE task = '${reminded.id}' AND type = 11`);
}

// What `GET …/events` says of a list, by rev.
async function history(me, list) {
  const answer = await me.get(`/v1/lists/${list}/events?limit=500`);
  assert.equal(answer.status, 200, answer.text);
  return new Map(answer.body.items.map((event) => [event.rev, event]));
}

// Sends to task-events what nobody can use, and reads what becomes of it: {sent, from, records}.
async function refusedRecords(bench, real) {
  const topic = `${bench.prefix()}task-events`;
  const { high: from } = (await kafka.marks(topic)).find(({ partition }) => partition === real.partition);
  const sent = [
    { key: 'some key', value: 'some text', headers: { 'content-type': 'text/plain' } },
    { key: text(real.key), value: null },
    { key: text(real.key), value: Buffer.concat([real.value, Buffer.from(' ')]), headers: headersOf(real) },
    { key: 'large', value: 'x'.repeat(900_000) },
  ];
  await kafka.send(topic, sent.map((one) => ({ ...one, partition: real.partition })));
  const letters = await kafka.reader(`${bench.prefix()}taskwire-dead-letter`);
  await waitFor(() => letters.records.length >= sent.length, 'they are dead letters', 60_000);
  assert.equal(letters.records.length, sent.length, 'each once');
  return { sent, from, records: letters.records };
}

for (const encoding of ['json', 'msgpack']) {
  describe(`in ${encoding}`, () => {
    let bench;
    let me;
    let topics;
    let made;
    let events;

    before(async () => {
      bench = await Bench.start({ kafka, settings: { KAFKA_ENCODING: encoding } });
      me = await Client.register(bench.taskwire.url);
      topics = await follow(kafka, bench);
      made = await live(me);
      await comeToRest(bench, made);
      await everyEventIsIn(bench, topics.events);
      await Promise.all(Object.values(topics).map((reader) => reader.catchUp()));
      events = await eventsOf(bench);
    });
    after(() => bench?.stop());

    it('every event is in task-events, in the order of its stream, keyed by it', () => {
      checkEvents(topics.events.records, events, { partitions: 3 });
    });

    it('what fired is in reminders too', async () => {
      await waitFor(() => topics.reminders.records.length > 0, 'the reminder is there');
      checkReminders(topics.reminders.records, events);
    });

    it('each says what GET …/events says', async () => {
      for (const list of [made.home, made.work]) {
        const said = await history(me, list.id);
        const mine = topics.events.records.filter((record) => text(record.key) === list.id);
        assert.ok(mine.length >= said.size);
        for (const record of mine) {
          const data = dataOf(record);
          const { v, ...shown } = data; // the version of what is stored, which nobody sees elsewhere
          assert.equal(v, 1);
          assert.deepEqual(shown, said.get(data.rev), `${list.id}/${data.rev}`);
        }
      }
    });

    it('npm\'s cloudevents takes every record for a CloudEvent, with the attributes that are promised', () => {
      const rows = [...topics.events.records, ...topics.reminders.records, ...topics.updates.records.filter((record) => record.value !== null)];
      for (const record of rows) {
        const plain = headersOf(record);
        const isText = encoding === 'json';
        const parsed = Binding.toEvent({ key: text(record.key), value: isText ? text(record.value) : record.value, headers: plain, body: record.value });
        if (isText) parsed.validate(); // strict about what a CloudEvent is
        const said = isText ? parsed : { ...parsed, data: decode(record.value) };
        const stream = text(record.key).split('/')[0];
        assert.equal(said.specversion, '1.0');
        assert.equal(said.source, `taskwire/${position(record).epoch}`);
        assert.match(said.type, /^taskwire\.v1\.[a-z_.]+$/);
        assert.equal(isText ? JSON.parse(record.value).partitionkey : plain.ce_partitionkey, stream);
        assert.ok(!Number.isNaN(Date.parse(said.time)));
        if (record.topic.endsWith('task-updates')) {
          assert.equal(said.data.list, stream);
          continue;
        }
        assert.equal(said.id, `${stream}/${said.data.rev}`);
        assert.equal(said.type, `taskwire.v1.${said.data.type}`);
        assert.equal(said.subject, said.data.task ?? stream);
        assert.equal(Number(said.sequence ?? plain.ce_sequence), said.data.rev);
        assert.equal(Date.parse(said.time), Date.parse(said.data.at));
        if (isText) assert.equal(said.datacontenttype, 'application/json');
      }
    });

    it('the value is named and vouched for in headers', () => {
      const type = encoding === 'json' ? 'application/cloudevents+json; charset=UTF-8' : 'application/msgpack';
      for (const record of topics.events.records) {
        assert.equal(header(record, 'content-type'), type);
        assert.ok(header(record, 'taskwire-mac').length >= 32);
        assert.equal('ce_id' in record.headers, encoding === 'msgpack');
      }
      const macs = topics.events.records.map((record) => header(record, 'taskwire-mac'));
      assert.equal(new Set(macs).size, macs.length, 'no two records have the same');
    });

    it('the trace of a request goes on in its records, and in that of what an actor did because of it', async () => {
      const find = (type, task) => topics.events.records.find((one) => dataOf(one).type === type && dataOf(one).task === task);
      const successor = await bench.cluster.value(`SELECT id FROM task WHERE series = '${made.weekly.id}' AND occurrence = 2`);
      const spans = [find('task.updated', made.task.id), find('task.completed', made.weekly.id), find('task.created', successor)].map((record) => {
        const [, id, span] = /^00-([0-9a-f]{32})-([0-9a-f]{16})-01$/.exec(header(record, 'traceparent')) ?? [];
        assert.equal(id, TRACE.split('-')[1]);
        assert.equal(header(record, 'traceid'), header(record, 'traceparent'));
        const said = encoding === 'json' ? JSON.parse(record.value).traceparent : header(record, 'ce_traceparent');
        assert.equal(said, header(record, 'traceparent'));
        return span;
      });
      assert.equal(new Set([...spans, TRACE.split('-')[2]]).size, 4, 'each hop is a span of its own');
      assert.equal(find('task.created', made.task.id).headers.traceparent, undefined);
      const update = topics.updates.records.find((one) => one.value && dataOf(one).title === 'Birnen');
      assert.equal(header(update, 'traceparent'), header(find('task.updated', made.task.id), 'traceparent'));
    });

    it('task-updates comes down to the tasks that there are, and tombstones', async () => {
      const last = checkUpdates(topics.updates.records, await tasksOf(bench));
      for (const task of [made.task, made.moved, made.reminded, made.weekly]) {
        const now = (await me.get(`/v1/tasks/${task.id}`)).body;
        assert.deepEqual(dataOf(last.get(`${now.list}/${now.id}`)), now);
        assert.deepEqual(openapi.faults('/components/schemas/Task', now), []);
      }
      const gone = [[made.home, made.parent], [made.home, made.child], [made.home, made.moved], [made.gone, made.lost]];
      for (const [list, task] of gone) assert.equal(last.get(`${list.id}/${task.id}`)?.value, null, `${task.title} is a tombstone`);
      for (const record of last.values()) assert.equal(record.partition, Number(events.get(`${text(record.key).split('/')[0]}/1`).shard) % 3);
    });

    it('asyncapi.yaml describes each record', () => {
      const check = (records, name) => {
        assert.ok(records.length > 0, name);
        for (const record of records) {
          const value = encoding === 'json' && record.value !== null ? JSON.parse(record.value) : dataOf(record);
          assert.deepEqual(asyncapi.faults(`/components/messages/${name}/payload`, value), [], text(record.value ?? 'null'));
          assert.deepEqual(asyncapi.faults(`/components/messages/${name}/headers`, headersOf(record)), [], JSON.stringify(headersOf(record)));
        }
      };
      const isGone = (record) => record.value === null;
      const way = encoding === 'json' ? '' : 'Msgpack';
      check([...topics.events.records, ...topics.reminders.records], `taskEvent${way}`);
      check(topics.updates.records.filter((record) => !isGone(record)), `taskUpdate${way}`);
      check(topics.updates.records.filter(isGone), 'taskGone');
    });

    it('the value is the bytes that are stored, or comes down to them', async () => {
      const rows = await bench.cluster.query("SELECT stream || '/' || rev, encode(body, 'hex') FROM event WHERE body IS NOT NULL");
      const bodies = new Map(rows);
      for (const record of topics.events.records) {
        const bytes = encoding === 'msgpack' ? record.value : Buffer.from(encode(dataOf(record)));
        assert.equal(bytes.toString('hex'), bodies.get(`${text(record.key)}/${dataOf(record).rev}`));
      }
    });

    if (encoding === 'json') {
      it('kcat reads the same', async () => {
        const prefix = bench.prefix();
        const read = await kafka.kcat(`${prefix}task-events`);
        assert.equal(read.length, topics.events.records.length);
        const names = (records, nameOf) => records.map(nameOf).sort();
        assert.deepEqual(names(read, (one) => `${one.partition} ${one.offset} ${one.key} ${JSON.parse(one.payload).id}`),
          names(topics.events.records, (one) => `${one.partition} ${one.offset} ${text(one.key)} ${JSON.parse(one.value).id}`));
        const updates = await kafka.kcat(`${prefix}task-updates`);
        const tombstones = new Set(updates.filter((one) => one.payload === null).map((one) => one.key));
        assert.ok(tombstones.has(`${made.home.id}/${made.parent.id}`));
      });
    }

    it('everything is audited, nothing was a dead letter, and verify finds it fine', async () => {
      await waitFor(async () => (await bench.cluster.value(`SELECT count(*) FROM stream s LEFT JOIN audit_head h ON h.stream = s.id
        WHERE h.rev IS DISTINCT FROM s.head`)) === '0', 'every event is audited');
      assert.equal(await bench.cluster.value('SELECT count(*) FROM dead_letter'), '0');
      assert.deepEqual(await kafka.marks(`${bench.prefix()}taskwire-dead-letter`), [{ partition: 0, low: 0, high: 0 }]);
      const verified = await command(['verify'], bench.taskwire.environment());
      assert.equal(verified.code, 0, verified.stdout + verified.stderr);
    });

    it('what could not be handled is in taskwire-dead-letter as it was, with the reason', async () => {
      const [real] = topics.events.records.slice(-1);
      const letter = await refusedRecords(bench, real);
      for (const record of letter.records) {
        assert.deepEqual(asyncapi.faults('/components/messages/deadLetter/headers', headersOf(record)), [], JSON.stringify(headersOf(record)));
        assert.ok(header(record, 'reason').length > 0);
        assert.equal(header(record, 'origin-topic'), real.topic);
        assert.equal(header(record, 'origin-partition'), String(real.partition));
        const sent = letter.sent[Number(header(record, 'origin-offset')) - letter.from];
        assert.equal(text(record.key), sent.key);
        assert.deepEqual(record.value, sent.value === null ? null : Buffer.from(sent.value));
        for (const [name, value] of Object.entries(sent.headers ?? {})) assert.equal(header(record, name), value);
        assert.equal(record.headers['value-bytes'], undefined, 'it is whole');
      }
      const read = await kafka.kcat(`${bench.prefix()}taskwire-dead-letter`);
      assert.deepEqual(read.map((one) => one.offset), letter.records.map((record) => record.offset));
      const cli = (...args) => command(['dead-letter', ...args], bench.taskwire.environment());
      const { stdout } = await cli('list');
      assert.equal(stdout.trim().split('\n').length, letter.sent.length);
      const id = /^\d+/.exec(stdout)[0];
      await waitFor(async () => /^published: yes$/m.test((await cli('show', id)).stdout), 'it is shown as published');
    });

    it('an event that an actor refused is there as in task-events, also after a crash', async () => {
      const event = [...events.values()].find((one) => one.rev === 2 && one.stream === made.home.id);
      const before = (await kafka.records(`${bench.prefix()}taskwire-dead-letter`)).length;
      await bench.taskwire.kill();
      await bench.cluster.value(`INSERT INTO dead_letter (actor, event_id, stream, rev, reason, attempts)
        VALUES ('audit', ${event.id}, '${event.stream}', ${event.rev}, 'of a test', 2)`);
      await bench.taskwire.start();
      const letters = await kafka.reader(`${bench.prefix()}taskwire-dead-letter`);
      await waitFor(() => letters.records.length > before, 'it is published', 60_000);
      const record = letters.records.at(-1);
      const first = topics.events.records.find((one) => position(one).id === event.id);
      assert.equal(text(record.key), event.stream);
      assert.deepEqual(record.value, first.value);
      assert.equal(header(record, 'taskwire-mac'), header(first, 'taskwire-mac'));
      assert.deepEqual(['reason', 'attempts', 'actor', 'origin-topic', 'origin-partition', 'origin-offset'].map((name) => header(record, name)),
        ['of a test', '2', 'audit', `${bench.prefix()}task-events`, String(event.shard % 3), '-1']);
      if (encoding === 'json') Binding.toEvent({ key: text(record.key), value: text(record.value), headers: headersOf(record), body: record.value }).validate();
    });
  });
}

describe('what is purged', () => {
  let bench;
  before(async () => { bench = await Bench.start({ kafka }); });
  after(() => bench?.stop());

  it('is not in task-updates, nor in its events when they are published again', async () => {
    const me = await Client.register(bench.taskwire.url);
    const [list, left] = [await me.list('Kept'), await me.list('Left')];
    const [kept, gone, lost] = [await me.task(list.id, { title: 'Kept' }), await me.task(list.id, { title: 'Secret' }), await me.task(left.id, { title: 'Secret' })];
    granted(await me.delete(`/v1/tasks/${gone.id}`));
    granted(await me.delete(`/v1/lists/${left.id}`), 204);
    const topics = await follow(kafka, bench);
    await everyEventIsIn(bench, topics.events);
    await bench.taskwire.stop();
    for (const args of [['--task', kept.id], ['--task', gone.id], ['--stream', left.id]]) {
      const { code, stderr } = await command(['purge', ...args], bench.taskwire.environment());
      assert.equal(code, 0, stderr);
    }
    await Promise.all(Object.values(topics).map((reader) => reader.catchUp()));
    const [nEvents, nUpdates] = [topics.events.records.length, topics.updates.records.length];
    await bench.cluster.value("DELETE FROM relay_position WHERE actor = 'kafka'"); // all of the log once more
    await bench.taskwire.start();
    const n = Number(await bench.cluster.value('SELECT count(*) FROM event'));
    await waitFor(() => topics.events.records.length >= nEvents + n, 'every event is there again', 60_000);
    await waitFor(async () => (await bench.cluster.value(`SELECT count(*) FROM (SELECT shard, max(id) AS id FROM event GROUP BY shard) e
      LEFT JOIN relay_position p ON p.actor = 'kafka' AND p.shard = e.shard WHERE p.id IS DISTINCT FROM e.id`)) === '0', 'all has arrived', 60_000);
    await topics.updates.catchUp();
    const again = [...topics.events.records.slice(nEvents), ...topics.updates.records.slice(nUpdates)];
    for (const record of again) assert.doesNotMatch(text(record.value ?? ''), /Secret/);
    const last = checkUpdates(topics.updates.records, await tasksOf(bench));
    assert.equal(dataOf(last.get(`${list.id}/${kept.id}`)).title, 'Kept');
    for (const key of [`${list.id}/${gone.id}`, `${left.id}/${lost.id}`]) assert.equal(last.get(key).value, null, 'a tombstone');
  });
});
