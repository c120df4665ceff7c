// SPDX-License-Identifier: Apache-2.0
// What leaves by Kafka, seen from outside: by kafkajs, kcat and npm's cloudevents, which know nothing of us; and what
// comes about by way of it.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { decode } from '@msgpack/msgpack';
import { Kafka as Binding } from 'cloudevents';
import { Client } from '../lib/client.mjs';
import { Kafka, text } from '../lib/kafka.mjs';
import { Description } from '../lib/contract.mjs';
import { granted } from '../lib/expect.mjs';
import { Bench, command } from '../lib/program.mjs';
import { checkEvents, checkReminders, checkUpdates, dataOf, eventsOf, everyEventIsIn, follow, header, lastOf, position, tasksOf } from '../lib/topics.mjs';
import { waitFor } from '../lib/wait.mjs';

const asyncapi = Description.read('asyncapi.yaml');
let kafka;
before(async () => { kafka = await Kafka.any(); });
after(() => kafka?.remove());

const soon = (ms = 300) => new Date(Date.now() + ms).toISOString();

// Something of every kind: tasks made, changed, closed with a successor, deleted with a subtask, moved, reminded of.
async function live(me) {
  const [home, work, gone] = [await me.list('Home'), await me.list('Work'), await me.list('Gone')];
  const task = await me.task(home.id, { title: 'Äpfel "kaufen" <🍎>', notes: 'line\n\ttab \\ '.repeat(200), tags: ['a', 'b'], priority: 'high' });
  granted(await me.patch(`/v1/tasks/${task.id}`, { title: 'Birnen', tags: { add: ['c'] } }));
  const weekly = await me.task(home.id, { due: '2030-01-01', recurrence: { rule: 'weekly' } });
  granted(await me.post(`/v1/tasks/${weekly.id}/complete`, {}));
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
        const plain = Object.fromEntries(Object.entries(record.headers).map(([name, value]) => [name, text(value)]));
        const isText = encoding === 'json';
        const parsed = Binding.toEvent({ key: text(record.key), value: isText ? text(record.value) : record.value, headers: plain, body: record.value });
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

    it('task-updates comes down to the tasks that there are, and tombstones', async () => {
      const last = checkUpdates(topics.updates.records, await tasksOf(bench));
      for (const task of [made.task, made.moved, made.reminded, made.weekly]) {
        const now = (await me.get(`/v1/tasks/${task.id}`)).body;
        assert.deepEqual(dataOf(last.get(`${now.list}/${now.id}`)), now);
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
          const headers = Object.fromEntries(Object.entries(record.headers).map(([key, one]) => [key, text(one)]));
          assert.deepEqual(asyncapi.faults(`/components/messages/${name}/headers`, headers), [], JSON.stringify(headers));
        }
      };
      const isGone = (record) => record.value === null;
      const way = encoding === 'json' ? '' : 'Msgpack';
      check([...topics.events.records, ...topics.reminders.records], `taskEvent${way}`);
      check(topics.updates.records.filter((record) => !isGone(record)), `taskUpdate${way}`);
      check(topics.updates.records.filter(isGone), 'taskGone');
    });

    if (encoding === 'msgpack') {
      it('the value is the bytes that are stored', async () => {
        const rows = await bench.cluster.query("SELECT stream || '/' || rev, encode(body, 'hex') FROM event WHERE body IS NOT NULL");
        const bodies = new Map(rows);
        for (const record of topics.events.records) {
          assert.equal(record.value.toString('hex'), bodies.get(`${text(record.key)}/${header(record, 'ce_sequence')}`));
        }
      });
    } else {
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
  });
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
