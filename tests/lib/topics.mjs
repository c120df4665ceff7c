// SPDX-License-Identifier: Apache-2.0
// taskwire's topics, read as anybody could, and held against the database.
import assert from 'node:assert/strict';
import { decode } from '@msgpack/msgpack';
import { text } from './kafka.mjs';
import { waitFor } from './wait.mjs';

export const TOPICS = ['reminders', 'task-events', 'task-updates', 'taskwire-dead-letter'];
const REMINDER_DUE = 11; // its number in the database

export const header = (record, name) => text(record.headers[name]);

// Where an event is in the log: header taskwire-position.
export function position(record) {
  const [epoch, shard, id, before] = (header(record, 'taskwire-position') ?? '').split(':');
  return { epoch, shard: Number(shard), id: Number(id), before: Number(before) };
}

// What a record says, in whichever encoding: the event, or the task of task-updates. Null of a tombstone.
export function dataOf(record) {
  if (record.value === null) return null;
  return header(record, 'content-type') === 'application/msgpack' ? decode(record.value) : JSON.parse(record.value).data;
}

// The events that the database has, as a map STREAM/REV → {stream, rev, id, before, shard, type, digest, epoch}.
export async function eventsOf(bench) {
  const rows = await bench.cluster.query(`SELECT stream, rev, id, coalesce(lag(id) OVER (PARTITION BY shard ORDER BY id), 0), shard, type,
    encode(digest, 'hex'), epoch FROM event ORDER BY id`);
  return new Map(rows.map(([stream, rev, id, before, shard, type, digest, epoch]) => [`${stream}/${rev}`,
    { stream, rev: Number(rev), id: Number(id), before: Number(before), shard: Number(shard), type: Number(type), digest, epoch }]));
}

// The tasks that are there, as a map LIST/TASK → rev.
export async function tasksOf(bench) {
  const rows = await bench.cluster.query(`SELECT t.list, t.id, t.rev FROM task t JOIN list l ON l.id = t.list
    WHERE t.deleted_at IS NULL AND l.deleted_at IS NULL`);
  return new Map(rows.map(([list, id, rev]) => [`${list}/${id}`, Number(rev)]));
}

// The topics of a bench, followed from their beginning: {events, reminders, updates}, readers of tests/lib/kafka.mjs.
export async function follow(kafka, bench) {
  const prefix = bench.prefix();
  await waitFor(async () => (await kafka.topics(prefix)).length === TOPICS.length, 'the topics are there', 60_000);
  const [events, reminders, updates] = await Promise.all(['task-events', 'reminders', 'task-updates'].map((topic) => kafka.reader(`${prefix}${topic}`)));
  return { events, reminders, updates };
}

// Waits until there is a record for every event that the database has now.
export async function everyEventIsIn(bench, reader, { limitMs = 60_000, after = 0 } = {}) {
  const wanted = [...(await eventsOf(bench)).values()].filter((event) => event.id > after).map((event) => event.id);
  const seen = new Set();
  let n = 0;
  await waitFor(() => {
    for (; n < reader.records.length; n++) seen.add(position(reader.records[n]).id);
    return wanted.every((id) => seen.has(id));
  }, 'every event is in the topic', limitMs).catch((error) => {
    const missing = wanted.filter((id) => !seen.has(id));
    throw new Error(`${error.message}: ${missing.length} of ${wanted.length} are not, first of all ${missing.slice(0, 5)}`);
  });
}

// Holds records of task-events against the log. Each event is there, and says of itself what the log says; what came first
// of each stream came in order; records that repeat are as those before. Events up to `after` may have been in the topic
// before, when it was another of the same name. Answers how many repeat.
export function checkEvents(records, events, { partitions, after = 0 } = {}) {
  const seen = new Map(); // STREAM/REV → record
  const last = new Map(); // partition and stream → rev
  let repeated = 0;
  for (const record of records) {
    const place = position(record);
    const stream = text(record.key);
    const rev = revOf(record);
    const name = `${stream}/${rev}`;
    const event = events.get(name);
    assert.ok(event, `${name} is in the log`);
    assert.deepEqual(place, { epoch: event.epoch, shard: event.shard, id: event.id, before: event.before }, `the position of ${name}`);
    assert.equal(header(record, 'taskwire-digest'), event.digest, `the digest of ${name}`);
    if (partitions) assert.equal(record.partition, event.shard % partitions, `the partition of ${name}`);
    const first = seen.get(name);
    if (first) {
      repeated++;
      assert.equal(text(record.value), text(first.value), `${name} is the same when it comes again`);
      continue;
    }
    seen.set(name, record);
    const where = `${record.partition} ${stream}`;
    if (event.id <= after) continue;
    assert.ok(rev > (last.get(where) ?? 0), `${name} came first after ${last.get(where)}`);
    last.set(where, rev);
  }
  const missing = [...events].filter(([name, event]) => event.id > after && !seen.has(name)).map(([name]) => name);
  assert.deepEqual(missing.slice(0, 5), [], `${missing.length} of ${events.size} events are not in the topic`);
  return repeated;
}

// The rev of an event's record, from what needs no decoding where possible.
function revOf(record) {
  const sequence = header(record, 'ce_sequence');
  return Number(sequence ?? JSON.parse(record.value).sequence);
}

// Holds records of reminders against the log: the reminders that fired, each as in task-events.
export function checkReminders(records, events) {
  const fired = [...events].filter(([, event]) => event.type === REMINDER_DUE).map(([name]) => name);
  const seen = new Set(records.map((record) => `${text(record.key)}/${revOf(record)}`));
  assert.deepEqual([...seen].sort(), fired.sort());
}

// What task-updates comes down to: the last record of each key. Each key keeps to one partition.
export function lastOf(records) {
  const last = new Map();
  for (const record of records) {
    const key = text(record.key);
    assert.equal(last.get(key)?.partition ?? record.partition, record.partition, `${key} keeps to its partition`);
    last.set(key, record);
  }
  return last;
}

// Holds records of task-updates against the tasks that there are: the last one of each is the task, that of every other key
// a tombstone.
export function checkUpdates(records, tasks) {
  const last = lastOf(records);
  for (const [key, rev] of tasks) {
    assert.ok(last.get(key)?.value, `${key} has its task`);
    assert.equal(dataOf(last.get(key)).rev, rev, `the rev of ${key}`);
  }
  for (const [key, record] of last) {
    if (!tasks.has(key)) assert.equal(record.value, null, `${key} ends with a tombstone`);
  }
  return last;
}
