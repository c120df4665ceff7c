// SPDX-License-Identifier: Apache-2.0
// Live sync where events travel through Kafka: the clients of one process are shown what another writes by way of the
// topic, and by way of the log whenever the topic fails.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Client } from '../lib/client.mjs';
import { granted } from '../lib/expect.mjs';
import { Follower } from '../lib/follower.mjs';
import { Kafka } from '../lib/kafka.mjs';
import { Bench } from '../lib/program.mjs';
import { waitFor } from '../lib/wait.mjs';

// From one look at the log to the next, where Kafka brings what is new: POLL_FED_US in actors/sync.c.
const POLL_MS = 1000;

// How many records of taskwire_sync_kafka_events_total had this fate.
async function fate(program, name) {
  const text = await (await fetch(`${program.adminUrl}/metrics`)).text();
  return Number(new RegExp(`^taskwire_sync_kafka_events_total\\{fate="${name}"\\} (\\d+)`, 'm').exec(text)[1]);
}

const isOn = (program) => waitFor(async () => (await program.metric('taskwire_tail_on')) === 1, 'Kafka brings what is new', 60_000);

// Makes changes by one process, each when a socket of the other has shown the one before; answers milliseconds.
async function inTurn(from, to, list, n) {
  const socket = await to.socket();
  await socket.subscribe(list.id);
  const started = performance.now();
  for (let i = 0; i < n; i++) {
    const task = await from.task(list.id, { title: `Task ${i}` });
    await socket.find((m) => m.op === 'event' && m.task === task.id, 'the event at the other process');
  }
  const ms = performance.now() - started;
  await socket.close();
  return ms;
}

describe('two processes and Kafka', () => {
  let kafka;
  let bench;
  let a;
  let b;
  let me;
  const at = (program) => new Client(program.url, me.token);
  const topic = () => `${bench.prefix()}task-events`;

  before(async () => {
    kafka = await Kafka.start();
    bench = await Bench.start({ kafka });
    a = bench.taskwire;
    b = await bench.program().start();
    me = await Client.register(a.url);
    // No process tells another: what comes at once comes by Kafka.
    await bench.cluster.value('REVOKE EXECUTE ON FUNCTION pg_catalog.pg_notify(text, text) FROM PUBLIC');
    await Promise.all([a, b].map(isOn));
  });
  after(async () => {
    await bench?.stop();
    await kafka?.remove();
  });

  // A follower of each process ends with what the database has.
  async function bothEndAlike(list, change) {
    const followers = [a, b].map((program) => new Follower(program.url, me.token, [list.id]));
    try {
      await waitFor(() => followers.every((f) => f.isReady), 'both follow');
      await change();
      const head = Number(await bench.cluster.value(`SELECT head FROM stream WHERE id = '${list.id}'`));
      await waitFor(() => followers.every((f) => f.streams.get(list.id).rev === head), 'both followers are at the head');
      assert.deepEqual(followers.flatMap((f) => f.faults), []);
      const tasks = granted(await me.get(`/v1/lists/${list.id}/tasks?limit=500`)).items.map((task) => task.id).sort();
      for (const follower of followers) assert.deepEqual([...follower.streams.get(list.id).tasks.keys()].sort(), tasks);
    } finally {
      for (const follower of followers) follower.stop();
    }
  }

  it('a change by one is seen by the clients of the other by way of Kafka, long before they would look', async (t) => {
    const n = 20;
    const taken = await fate(b, 'taken');
    const received = await b.metric('taskwire_peer_notices_received_total');
    const ms = await inTurn(at(a), at(b), await me.list(), n);
    t.diagnostic(`${n} changes in ${ms.toFixed(0)} ms; looking takes about ${n * POLL_MS / 2} ms`);
    assert.ok(ms < (n * POLL_MS) / 4, `it took ${ms} ms`);
    assert.ok((await fate(b, 'taken')) >= taken + n - 1, 'and not by way of the log');
    assert.equal(await b.metric('taskwire_peer_notices_received_total'), received);
  });

  it('records that anybody can write are no events for clients', async () => {
    const list = await me.list();
    const wrong = async () => [await b.metric('taskwire_tail_decode_errors_total'), await b.metric('taskwire_tail_mac_errors_total')];
    const [undecoded, forged] = await wrong();
    await bothEndAlike(list, async () => {
      await at(a).task(list.id);
      const [true1] = await kafka.records(topic());
      const headers = Object.fromEntries(Object.entries(true1.headers).map(([name, value]) => [name, value.toString()]));
      const [epoch, shard, id] = headers['taskwire-position'].split(':');
      await kafka.send(topic(), [
        { partition: 0, key: 'x', value: 'nonsense' },
        { partition: 1, key: list.id, value: '{"specversion":"1.0"}' },
        // The next in its shard, as well-formed as any, with a MAC of another.
        { partition: true1.partition, key: true1.key, value: true1.value,
          headers: { ...headers, 'taskwire-position': `${epoch}:${shard}:${Number(id) + 1000000}:${id}` } },
      ]);
      await waitFor(async () => (await wrong()).join() === [undecoded + 2, forged + 1].join(), 'all three are counted');
      for (let i = 0; i < 5; i++) await at(a).task(list.id);
    });
  });

  it('what comes again changes nothing', async () => {
    const list = await me.list();
    await bothEndAlike(list, async () => {
      for (let i = 0; i < 5; i++) await at(a).task(list.id);
      const known = await fate(b, 'known');
      const all = await kafka.records(topic());
      await kafka.send(topic(), all.filter(({ value }) => value.toString().includes('specversion')).map(({ partition, key, value, headers }) => ({ partition, key, value, headers })));
      await waitFor(async () => (await fate(b, 'known')) > known, 'they are known');
      for (let i = 0; i < 5; i++) await at(a).task(list.id);
    });
  });

  it('partitions that are added are read', async () => {
    const lists = await Promise.all(Array.from({ length: 8 }, () => me.list()));
    await kafka.addPartitions(topic(), 5);
    await waitFor(async () => /topic=\S*task-events partitions=5/.test(b.log) && /topic=\S*task-events partitions=5/.test(a.log), 'they are noticed');
    await isOn(b);
    for (const list of lists) await bothEndAlike(list, () => at(a).task(list.id));
    const taken = await fate(b, 'taken');
    const ms = await inTurn(at(a), at(b), lists[0], 10);
    assert.ok(ms < (10 * POLL_MS) / 4, `it took ${ms} ms`);
    assert.ok((await fate(b, 'taken')) >= taken + 9);
  });

  it('a topic that is deleted and made anew is followed', async (t) => {
    const list = await me.list();
    await bothEndAlike(list, async () => {
      for (let i = 0; i < 5; i++) await at(a).task(list.id);
      await kafka.deleteTopics(topic());
      for (let i = 0; i < 5; i++) await at(a).task(list.id);
      await waitFor(async () => (await kafka.topics()).includes(topic()), 'there is another one');
      for (let i = 0; i < 5; i++) await at(a).task(list.id);
    });
    const started = performance.now();
    await waitFor(async () => {
      const taken = await fate(b, 'taken');
      await inTurn(at(a), at(b), list, 3);
      return (await fate(b, 'taken')) >= taken + 3;
    }, 'events come by Kafka again', 60_000);
    t.diagnostic(`after ${(performance.now() - started).toFixed(0)} ms`);
  });

  it('while the broker is away clients are shown everything all the same, and by Kafka afterwards', async () => {
    const list = await me.list();
    await bothEndAlike(list, async () => {
      await kafka.kill();
      for (let i = 0; i < 3; i++) await at(a).task(list.id);
    });
    await waitFor(async () => (await b.metric('taskwire_tail_on')) === 0, 'it is known that Kafka is away', 30_000);
    const lag = async () => (await a.metric('taskwire_relay_lag_events')) + (await b.metric('taskwire_relay_lag_events'));
    await waitFor(async () => (await lag()) >= 3, 'the relay says how many events are behind', 30_000);
    // Now they tell each other, as without Kafka.
    await bench.cluster.value('GRANT EXECUTE ON FUNCTION pg_catalog.pg_notify(text, text) TO PUBLIC');
    const received = await b.metric('taskwire_peer_notices_received_total');
    await waitFor(async () => {
      await me.task(list.id);
      return (await b.metric('taskwire_peer_notices_received_total')) > received;
    }, 'notices arrive');
    const ms = await inTurn(at(a), at(b), list, 10);
    assert.ok(ms < (10 * POLL_MS) / 4, `at once by notices: it took ${ms} ms`);
    await kafka.start();
    await isOn(b);
    await waitFor(async () => (await lag()) === 0, 'none is behind any more', 60_000);
    await waitFor(async () => {
      const taken = await fate(b, 'taken');
      await inTurn(at(a), at(b), list, 3);
      return (await fate(b, 'taken')) >= taken + 3;
    }, 'events come by Kafka again', 60_000);
    const fallbacks = await b.metric('taskwire_tail_fallbacks_total');
    await inTurn(at(a), at(b), list, 20);
    assert.equal(await b.metric('taskwire_tail_fallbacks_total'), fallbacks, 'what Kafka brings nobody reads');
  });
});
