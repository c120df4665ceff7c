// SPDX-License-Identifier: Apache-2.0
// What stands in the topics, as others read it: kafkajs, npm's cloudevents and @msgpack/msgpack, kcat; held against
// asyncapi.yaml, against the database, and against what GET answers.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { decode, encode } from '@msgpack/msgpack';
import { Kafka as Binding } from 'cloudevents';
import { Client } from '../lib/client.mjs';
import { Description } from '../lib/contract.mjs';
import { Kafka, text } from '../lib/kafka.mjs';
import { Bench } from '../lib/program.mjs';
import { waitFor } from '../lib/wait.mjs';

const asyncapi = Description.read('asyncapi.yaml');
const openapi = Description.read('openapi.yaml');

describe('records', { timeout: 300_000 }, () => {
  let kafka;
  let bench;

  before(async () => { kafka = await Kafka.any(); });
  afterEach(() => bench?.stop());
  after(() => kafka?.remove());

  // Things have happened in this encoding, and are published.
  async function lived(encoding) {
    bench = await Bench.start({ kafka, settings: { KAFKA_ENCODING: encoding } });
    const ann = await Client.register(bench.taskwire.url);
    const ben = await Client.register(bench.taskwire.url);
    const [list, other] = [await ann.list('One "quoted" Ä'), await ann.list('Other')];
    await ann.request('PUT', `/v1/lists/${list.id}/members/${ben.account}`, { role: 'editor' });
    const task = await ann.task(list.id, { title: 'Größe 😀 <&>', notes: 'a\n"b"\\', tags: ['x'], due: '2030-01-01', recurrence: { rule: 'daily' } });
    await ann.patch(`/v1/tasks/${task.id}`, { priority: 'high', assignee: ben.account });
    await ann.post(`/v1/tasks/${task.id}/complete`, {});
    const gone = await ann.task(list.id, { title: 'Gone' });
    await ann.delete(`/v1/tasks/${gone.id}`);
    const moved = await ann.task(list.id, { title: 'Moved' });
    await ann.post(`/v1/tasks/${moved.id}/move`, { list: other.id });
    const value = (sql) => bench.cluster.value(sql);
    await waitFor(async () => (await value(`SELECT count(*) FROM (SELECT shard, max(id) AS id FROM event GROUP BY shard) e
      LEFT JOIN relay_position p ON p.actor = 'kafka' AND p.shard = e.shard WHERE p.id IS DISTINCT FROM e.id`)) === '0', 'all is published', 60_000);
    return { ann, list, other, gone, moved, records: (topic) => kafka.records(`${bench.prefix()}${topic}`) };
  }

  const headersOf = (record) => Object.fromEntries(Object.entries(record.headers).map(([name, header]) => [name, text(header)]));

  function described(record, name, payload) {
    const message = `/components/messages/${name}`;
    assert.deepEqual(asyncapi.faults(`${message}/payload`, payload), [], JSON.stringify(payload));
    assert.deepEqual(asyncapi.faults(`${message}/headers`, headersOf(record)), [], JSON.stringify(headersOf(record)));
  }

  // By the specification's own library, which is strict about what a CloudEvent is.
  function parsed(record) {
    const event = Binding.toEvent({ ...record, headers: headersOf(record), timestamp: String(record.timestamp), body: record.value });
    event.validate();
    return event;
  }

  async function stored() {
    const rows = await bench.cluster.query("SELECT stream || '/' || rev, encode(body, 'hex'), encode(digest, 'hex') FROM event");
    return new Map(rows.map(([id, body, digest]) => [id, { body: Buffer.from(body, 'hex'), digest }]));
  }

  it('in JSON are CloudEvents that say what is stored, and what GET answers', async () => {
    const { ann, list, gone, moved, other, records } = await lived('json');
    const log = await stored();
    const events = await records('task-events');
    for (const record of events) {
      const payload = JSON.parse(record.value);
      described(record, 'taskEvent', payload);
      const event = parsed(record);
      assert.equal(event.id, payload.id);
      assert.equal(text(record.key), payload.partitionkey);
      const { body, digest } = log.get(payload.id);
      assert.deepEqual(Buffer.from(encode(payload.data)), body, 'its data encodes to the very bytes that are stored');
      assert.equal(text(record.headers['taskwire-digest']), digest);
    }
    assert.equal(new Set(events.map((record) => JSON.parse(record.value).id)).size, log.size);
    const newest = new Map();
    for (const record of await records('task-updates')) {
      const payload = record.value === null ? null : JSON.parse(record.value);
      described(record, payload === null ? 'taskGone' : 'taskUpdate', payload);
      if (payload !== null) parsed(record);
      newest.set(text(record.key), payload);
    }
    assert.equal(newest.get(`${list.id}/${gone.id}`), null);
    assert.equal(newest.get(`${list.id}/${moved.id}`), null);
    assert.ok(newest.get(`${other.id}/${moved.id}`));
    for (const [key, payload] of newest) {
      if (payload === null) continue;
      assert.deepEqual(openapi.faults('/components/schemas/Task', payload.data), [], key);
      assert.deepEqual(payload.data, (await ann.get(`/v1/tasks/${key.split('/')[1]}`)).body, key);
    }
    const seen = await kafka.kcat(`${bench.prefix()}task-events`);
    assert.deepEqual(new Set(seen.map(({ payload }) => JSON.parse(payload).id)), new Set(log.keys()));
  });

  it('in msgpack are the stored bytes, with the attributes as headers', async () => {
    const { ann, list, gone, records } = await lived('msgpack');
    const log = await stored();
    const events = await records('task-events');
    for (const record of events) {
      described(record, 'taskEventMsgpack', decode(record.value));
      const headers = headersOf(record);
      assert.deepEqual(record.value, log.get(headers.ce_id).body);
      assert.equal(text(record.key), headers.ce_partitionkey);
      assert.equal(headers.ce_type, `taskwire.v1.${decode(record.value).type}`);
    }
    assert.equal(new Set(events.map((record) => text(record.headers.ce_id))).size, log.size);
    const newest = new Map();
    for (const record of await records('task-updates')) {
      const payload = record.value === null ? null : decode(record.value);
      described(record, payload === null ? 'taskGone' : 'taskUpdateMsgpack', payload);
      newest.set(text(record.key), payload);
    }
    assert.equal(newest.get(`${list.id}/${gone.id}`), null);
    for (const [key, payload] of newest) {
      if (payload !== null) assert.deepEqual(payload, (await ann.get(`/v1/tasks/${key.split('/')[1]}`)).body, key);
    }
  });
});
