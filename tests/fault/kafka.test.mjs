// SPDX-License-Identifier: Apache-2.0
// Kafka mode under clients that keep books (ledger.mjs), on three taskwire processes, while broker, processes, topics and
// offsets are hit, and records come that taskwire did not write. After each blow, once all is at rest: no revision is
// missing, every event is in the topic, its first time in the order of its stream, every effect happened once, every
// follower has what the database has, the audit verifies.
//
//   TASKWIRE_TEST_LONG=1   the broker is frozen for 60 s instead of 20, and there are ten times as many commands
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { encode } from '@msgpack/msgpack';
import { Client } from '../lib/client.mjs';
import { granted } from '../lib/expect.mjs';
import { Kafka, text } from '../lib/kafka.mjs';
import { dataOf, everyEventIsIn, position } from '../lib/topics.mjs';
import { waitFor } from '../lib/wait.mjs';
import { Ledger } from './ledger.mjs';

const seed = Number(process.env.TASKWIRE_SEED ?? Date.now() % 1e6);
const isLong = Boolean(process.env.TASKWIRE_TEST_LONG);
const FREEZE_MS = isLong ? 60_000 : 20_000;
const TIMES = isLong ? 10 : 1;
const STOP_MS = 15_000;
const LIMIT = { timeout: isLong ? 900_000 : 240_000 };
const SETTINGS = { KAFKA_SESSION_TIMEOUT_MS: 3000, KAFKA_HEARTBEAT_INTERVAL_MS: 300, KAFKA_TOPIC_METADATA_REFRESH_INTERVAL_MS: 2000 };

let kafka;
let books;
before(async () => {
  kafka = await Kafka.start();
  books = await Ledger.open({ kafka, processes: 3, seed, settings: SETTINGS, remindMs: 2000 });
});
after(async () => {
  await books?.close();
  await kafka?.remove();
});

const named = (topic) => `${books.bench.prefix()}${topic}`;
const group = () => `${books.bench.prefix()}taskwire`;
const members = async () => (await kafka.groups()).get(group())?.members ?? 0;

// Deals the blows under load, and says what there was to compare.
async function strike(t, commands, ...blows) {
  t.diagnostic(`seed ${seed}`);
  const started = performance.now();
  const issued = await books.churn(commands * TIMES, blows);
  const seconds = (performance.now() - started) / 1000;
  const said = await books.check();
  t.diagnostic(`ledger: ${issued} commands in ${seconds.toFixed(0)} s, compared in ${((performance.now() - started) / 1000 - seconds).toFixed(0)} s: ${said}`);
}

test('the broker is killed and comes back', LIMIT, (t) => strike(t, 400, async () => {
  await kafka.kill();
  await kafka.start();
}));

// For as long as it takes until every request and every session has timed out: that is no waiting for anything. Meanwhile a
// process can end, and begin again.
test('the broker is frozen for long', LIMIT, (t) => strike(t, 400, async () => {
  const [program] = books.bench.programs;
  await kafka.pause();
  const started = performance.now();
  const exit = await program.stop();
  assert.deepEqual(exit, { code: 0, signal: null });
  assert.ok(performance.now() - started < STOP_MS, `it ended after ${performance.now() - started} ms`);
  await program.start();
  await new Promise((next) => { setTimeout(next, FREEZE_MS - (performance.now() - started)); });
  await kafka.resume();
}));

test('each process is killed in turn', LIMIT, (t) => strike(t, 400, ...books.bench.programs.map((program) => async () => {
  await program.kill();
  await program.start();
})));

// Whoever wakes up has records of partitions that others have by then, and the one that led has more to publish.
async function freeze(program) {
  const n = await members();
  program.signal('SIGSTOP');
  await waitFor(async () => (await members()) < n, 'its session has ended', 60_000);
  program.signal('SIGCONT');
  await waitFor(async () => (await members()) === n, 'it has joined again', 60_000);
  await waitFor(async () => (await program.metric('taskwire_consumer_partitions')) > 0, 'it has a partition again', 60_000);
  assert.equal(await program.metric('taskwire_consumer_fenced'), 0);
}

test('processes are frozen past their session, and go on', LIMIT, async (t) => {
  const leading = async () => {
    for (const program of books.bench.programs) if (await program.metric('taskwire_relay_leading')) return program;
    return null;
  };
  const leader = await waitFor(leading, 'one leads');
  const other = books.bench.programs.find((program) => program !== leader);
  await strike(t, 400, () => freeze(leader), () => freeze(other));
});

// Everything that anybody could send who can write to the topic and has read what is in it.
test('records that taskwire did not write change nothing', LIMIT, async (t) => {
  const { bench, topics } = books;
  const me = await Client.register(bench.taskwire.url);
  const list = await me.list();
  const task = await me.task(list.id, { title: 'True' });
  const rowsOf = (what) => bench.cluster.query(`SELECT ${what} FROM dead_letter WHERE topic = '${named('task-events')}' ORDER BY record_offset`);
  await strike(t, 400, async () => {
    await everyEventIsIn(bench, topics.events);
    const [real] = topics.events.records.filter((record) => text(record.key) === list.id).slice(-1);
    const place = position(real);
    const event = dataOf(real);
    const envelope = JSON.parse(real.value);
    // The next event of the list as it could be, before there is one.
    const next = { ...event, rev: event.rev + 1, type: 'task.updated', set: { title: 'False' }, was: { title: 'True' },
      after: { ...event.after, title: 'False', rev: event.rev + 1 } };
    const forged = { ...envelope, id: `${list.id}/${next.rev}`, sequence: String(next.rev), type: 'taskwire.v1.task.updated', data: next };
    const headers = Object.fromEntries(Object.entries(real.headers).map(([name, value]) => [name, text(value)]));
    const further = { ...headers, 'taskwire-position': `${place.epoch}:${place.shard}:${place.id + 1}:${place.id}` };
    const bare = { 'content-type': headers['content-type'] };
    const poison = [
      { value: randomBytes(200) },
      { value: randomBytes(200), headers },
      { value: Buffer.from(encode(event)).subarray(0, 40), headers: { ...headers, 'content-type': 'application/msgpack' } },
      { value: '{"hello": "world"}', headers: bare },
      { value: JSON.stringify({ ...forged, type: 'taskwire.v1.task.unheard_of' }), headers: bare },
      { value: JSON.stringify({ ...forged, data: { ...next, set: { notes: 'n'.repeat(1_000_000) } } }), headers: further },
      { value: JSON.stringify(forged), headers: further },
      { value: null, headers: further },
      { value: real.value, headers: { ...headers, 'taskwire-position': further['taskwire-position'] } },
    ];
    // A record of taskwire's that comes again is none, wherever it lies.
    const copies = [0, 1, 2].map((partition) => ({ key: list.id, value: real.value, headers, partition }));
    await kafka.send(named('task-events'), [...poison.map((one) => ({ key: list.id, partition: real.partition, ...one })), ...copies]);
    books.letters = poison.length;
    await waitFor(async () => (await rowsOf('id')).length === poison.length, 'they are dead letters', 60_000);
    const rows = await rowsOf('actor, partition, value_bytes, reason, record_offset');
    assert.deepEqual(rows.map(([actor, partition, size]) => [actor, partition, size]), poison.map(({ value }) =>
      ['consumer', String(real.partition), value === null ? '' : String(Buffer.byteLength(value))]));
    for (const [, , , reason] of rows) assert.ok(reason.length > 0);
    await topics.events.catchUp();
    topics.events.records = topics.events.records.filter(({ partition, offset }) =>
      !rows.some((row) => Number(row[1]) === partition && Number(row[4]) === offset));
    assert.equal(granted(await me.get(`/v1/tasks/${task.id}`)).title, 'True');
    // The true one comes where the forgery claimed to be.
    assert.equal(granted(await me.patch(`/v1/tasks/${task.id}`, { title: 'Truer' })).rev, next.rev);
  });
  assert.equal(await bench.cluster.value(`SELECT rev FROM audit_head WHERE stream = '${list.id}'`), await bench.cluster.value(`SELECT max(rev) FROM event WHERE stream = '${list.id}'`));
});

// The group's offsets can only be put elsewhere while nobody is in it.
for (const at of [0, 'end']) {
  test(`the offsets are put to ${at}`, LIMIT, (t) => strike(t, 300, async () => {
    for (const program of books.bench.programs) await program.kill();
    await waitFor(async () => (await members()) === 0, 'the group is empty', 60_000);
    await kafka.setOffsets(group(), named('task-events'), at);
    await Promise.all(books.bench.programs.map((program) => program.start()));
  }));
}

test('partitions are added to task-events', LIMIT, (t) => strike(t, 300, async () => {
  await kafka.addPartitions(named('task-events'), 5);
  const all = async () => Promise.all(books.bench.programs.map((program) => program.metric('taskwire_consumer_partitions')));
  await waitFor(async () => (await all()).reduce((sum, n) => sum + n) === 5, 'all five are read', 60_000);
  await waitFor(async () => (await kafka.marks(named('task-events'))).every(({ high }) => high > 0), 'something is written to each', 60_000);
}));

test('task-events is deleted and made anew', LIMIT, (t) => strike(t, 400, async () => {
  await books.topics.events.stop();
  await kafka.deleteTopics(named('task-events'));
  await waitFor(async () => (await kafka.topics()).includes(named('task-events')), 'it is there again', 60_000);
  books.unseen = Number(await books.bench.cluster.value('SELECT max(id) FROM event'));
  books.topics.events = await kafka.reader(named('task-events'));
}));
