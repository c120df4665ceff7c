// SPDX-License-Identifier: Apache-2.0
// deploy/lib/kafka.sh and what the tests do with it, without taskwire: the ground that the tests of Kafka mode stand on.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { Kafka, text } from '../lib/kafka.mjs';

let kafka;
before(async () => { kafka = await Kafka.start(); });
after(() => kafka.remove());

const numbers = (n, from = 0) => Array.from({ length: n }, (_, i) => ({ key: `k${(from + i) % 7}`, value: String(from + i), headers: { n: String(from + i) } }));

test('a broker that is killed comes back at its address with what it had', async () => {
  await kafka.createTopic('kept', { partitions: 3 });
  await kafka.send('kept', numbers(50));
  const { brokers } = kafka;
  await kafka.kill();
  await assert.rejects(kafka.pid(), 'it is dead');
  await kafka.start();
  assert.equal(await kafka.addresses(), brokers);
  await kafka.send('kept', numbers(50, 50));
  const records = await kafka.records('kept');
  assert.deepEqual(records.map((record) => Number(record.value)).sort((a, b) => a - b), Array.from({ length: 100 }, (_, i) => i));
  for (const record of records) assert.equal(text(record.headers.n), text(record.value));
  for (const partition of [0, 1, 2]) {
    const offsets = records.filter((record) => record.partition === partition).map((record) => record.offset);
    assert.deepEqual(offsets, offsets.map((_, i) => i), 'a partition is read in order');
  }
});

test('a frozen broker answers nobody, and everybody when it goes on', async () => {
  await kafka.createTopic('frozen');
  await kafka.pause();
  let sent = false;
  const sending = kafka.send('frozen', numbers(1)).then(() => { sent = true; });
  await assert.rejects(kafka.client({ retry: { retries: 0 }, requestTimeout: 500 }).admin().connect());
  assert.equal(sent, false);
  await kafka.resume();
  await sending;
  assert.equal((await kafka.records('frozen')).length, 1);
});

test('partitions are added, offsets moved, topics deleted and made anew', async () => {
  await kafka.createTopic('moved', { partitions: 1, settings: { 'cleanup.policy': 'compact' } });
  assert.deepEqual(await kafka.settings('moved', 'cleanup.policy'), { 'cleanup.policy': 'compact' });
  await kafka.send('moved', numbers(10));
  await kafka.addPartitions('moved', 4);
  assert.deepEqual(await kafka.partitions('moved'), [0, 1, 2, 3]);
  await kafka.setOffsets('group', 'moved', 'end');
  assert.deepEqual([...(await kafka.offsets('group', 'moved')).values()].sort(), [0, 0, 0, 10]);
  await kafka.deleteTopics('moved');
  await kafka.createTopic('moved');
  assert.deepEqual(await kafka.marks('moved'), [{ partition: 0, low: 0, high: 0 }]);
});

test('what is compressed by lz4 is read', async () => {
  await kafka.createTopic('lz4');
  const lines = Array.from({ length: 2000 }, (_, i) => `${i} ${'the same again '.repeat(i % 50)}`);
  const kcat = spawn('kcat', ['-b', kafka.brokers, '-P', '-t', 'lz4', '-z', 'lz4'], { stdio: ['pipe', 'inherit', 'inherit'] });
  kcat.stdin.end(lines.join('\n'));
  await once(kcat, 'close');
  assert.deepEqual((await kafka.records('lz4')).map((record) => text(record.value)), lines);
});

test('kcat reads what kafkajs reads', async () => {
  await kafka.createTopic('both');
  await kafka.send('both', [{ key: 'a', value: 'ä "quoted"', headers: { h: '1' } }, { key: 'a', value: null }]);
  const [first, second] = await kafka.kcat('both');
  assert.deepEqual([first.key, first.payload, first.headers], ['a', 'ä "quoted"', ['h', '1']]);
  assert.deepEqual([second.key, second.payload], ['a', null]);
});

test('three nodes keep three copies', async () => {
  const three = await Kafka.start({ nodes: 3 });
  try {
    await three.createTopic('safe', { partitions: 3, replicas: 3 });
    await three.send('safe', numbers(20));
    const { topics } = await (await three.admin()).fetchTopicMetadata({ topics: ['safe'] });
    for (const { isr } of topics[0].partitions) assert.deepEqual(isr.sort(), [1, 2, 3]);
    assert.equal((await three.records('safe')).length, 20);
  } finally {
    await three.remove();
  }
});
