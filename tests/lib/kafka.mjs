// SPDX-License-Identifier: Apache-2.0
// A real Apache Kafka for tests, by deploy/lib/kafka.sh: one broker, or several nodes, with a directory and ports of its
// own that it keeps over restarts. Topics are managed and read by kafkajs, and by kcat, which share no code with us (but
// kcat the client library).
//
//   TASKWIRE_TEST_KAFKA=HOST:PORT   a broker that is there: then every Bench runs its programs in Kafka mode on it
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import kafkajs from 'kafkajs';
import lz4 from 'lz4js';
import { waitFor } from './wait.mjs';

const run = promisify(execFile);
const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const quick = { logLevel: kafkajs.logLevel.NOTHING, connectionTimeout: 3000, requestTimeout: 15_000,
  retry: { initialRetryTime: 50, maxRetryTime: 1000, retries: 12 } };

// What taskwire compresses its records with; kafkajs knows only gzip by itself.
kafkajs.CompressionCodecs[kafkajs.CompressionTypes.LZ4] = () => ({
  compress: async ({ buffer }) => Buffer.from(lz4.compress(buffer)),
  decompress: async (buffer) => Buffer.from(lz4.decompress(buffer)),
});

// Runs functions of deploy/lib/kafka.sh.
async function kafka(script, ...args) {
  const { stdout } = await run('bash', ['-c', `. "${root}/deploy/lib/kafka.sh"; ${script}`, 'bash', ...args]);
  return stdout.trim();
}

// The text of a header, whatever kafkajs made of it.
export function text(header) {
  return header === undefined || header === null ? undefined : header.toString();
}

// Does it again while the broker says that it is not ready for it yet, which kafkajs hands on for some requests.
function insist(what, attempt) {
  return waitFor(async () => {
    try {
      return await attempt();
    } catch (error) {
      if (error.retriable) return null;
      throw error;
    }
  }, what);
}

export class Kafka {
  constructor(dir, brokers) {
    this.dir = dir;
    this.brokers = brokers;
  }

  // A cluster of its own: {nodes, login: 'USER:SECRET', tls, settings: {name: value}, start}.
  static async start({ nodes, login, tls, settings = {}, start = true } = {}) {
    const self = new Kafka(mkdtempSync(join(tmpdir(), 'tw-kafka-')));
    self.options = [...(nodes ? ['--nodes', String(nodes)] : []), ...(login ? ['--login', login] : []), ...(tls ? ['--tls'] : []),
      ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])];
    try {
      await kafka('chmod 755 "$1"', self.dir);
      await kafka('kafka_prepare "$@"', self.path, ...self.options);
      self.brokers = await self.addresses();
      if (start) await self.start();
      return self;
    } catch (error) {
      await self.remove();
      throw error;
    }
  }

  // The broker that TASKWIRE_TEST_KAFKA names; nothing here starts or stops it.
  static get shared() {
    return process.env.TASKWIRE_TEST_KAFKA ? new Kafka(null, process.env.TASKWIRE_TEST_KAFKA) : null;
  }

  // One that is there already, or one of one's own.
  static async any() {
    return Kafka.shared ?? Kafka.start();
  }

  get path() {
    return join(this.dir, 'k');
  }

  get isShared() {
    return this.dir === null;
  }

  log(node = 1) {
    const file = join(this.path, `node${node}`, 'log');
    return existsSync(file) ? readFileSync(file, 'utf8') : '';
  }

  // The addresses of the listeners of a kind: plain, sasl, tls, sasl_tls.
  addresses(kind = 'plain') {
    return kafka('kafka_bootstrap "$@"', this.path, kind);
  }

  // The file of the authority that signed the brokers' certificates.
  get authority() {
    return join(this.path, 'tls', 'ca.pem');
  }

  // Starts every node that does not run, and waits until all answer.
  async start() {
    await kafka('kafka_start "$@"', this.path);
  }

  async stop() {
    await kafka('kafka_stop "$@"', this.path);
  }

  async pid(node = 1) {
    return Number(await kafka('kafka_pid "$@"', this.path, String(node)));
  }

  // kill -9 of a node, or of all.
  async kill(node) {
    if (node === undefined) return kafka('kafka_kill "$@"', this.path);
    process.kill(await this.pid(node), 'SIGKILL');
    return waitFor(() => this.pid(node).then(() => false, () => true), 'the broker is dead');
  }

  async pause(node = 1) {
    process.kill(await this.pid(node), 'SIGSTOP');
  }

  async resume(node = 1) {
    process.kill(await this.pid(node), 'SIGCONT');
  }

  // Takes everything away: the clients, and the cluster unless it is a shared one.
  async remove() {
    await this.close();
    if (this.isShared) return;
    await kafka('kafka_remove "$@"', this.path).catch(() => {});
    rmSync(this.dir, { recursive: true, force: true });
  }

  async close() {
    await Promise.all((this.readers ?? []).map((reader) => reader.stop()));
    this.readers = [];
    await this.admins?.disconnect().catch(() => {});
    this.admins = undefined;
  }

  client(more = {}) {
    return new kafkajs.Kafka({ clientId: 'test', brokers: this.brokers.split(','), ...quick, ...more });
  }

  async admin() {
    if (!this.admins) {
      const admin = this.client().admin();
      await admin.connect();
      this.admins = admin;
    }
    return this.admins;
  }

  // The names of the topics that begin so.
  async topics(prefix = '') {
    return (await (await this.admin()).listTopics()).filter((name) => name.startsWith(prefix) && !name.startsWith('__')).sort();
  }

  async createTopic(topic, { partitions = 1, replicas = 1, settings = {} } = {}) {
    await (await this.admin()).createTopics({ waitForLeaders: true, topics: [{ topic, numPartitions: partitions, replicationFactor: replicas,
      configEntries: Object.entries(settings).map(([name, value]) => ({ name, value: String(value) })) }] });
  }

  // Deletes topics and waits until the broker knows nothing of them, or of others of the same name that hold less: somebody may
  // make them anew at once.
  async deleteTopics(...topics) {
    if (topics.length === 0) return;
    const impatient = this.client({ retry: { retries: 0 } }).admin();
    await impatient.connect();
    try {
      const size = async (topic) => (await impatient.fetchTopicOffsets(topic)).reduce((sum, { high }) => sum + Number(high), 0);
      const before = await Promise.all(topics.map((topic) => size(topic).catch(() => 0)));
      await (await this.admin()).deleteTopics({ topics, timeout: 15_000 });
      const isGone = async (topic, i) => !(await this.topics()).includes(topic) || (await size(topic).catch(() => Infinity)) < before[i];
      await waitFor(async () => (await Promise.all(topics.map(isGone))).every(Boolean), 'the topics are gone');
    } finally {
      await impatient.disconnect();
    }
  }

  // Brings a topic to `count` partitions.
  async addPartitions(topic, count) {
    await (await this.admin()).createPartitions({ topicPartitions: [{ topic, count }] });
    await waitFor(async () => (await this.partitions(topic)).length === count, 'the partitions are there');
  }

  async partitions(topic) {
    const { topics } = await (await this.admin()).fetchTopicMetadata({ topics: [topic] });
    return topics[0].partitions.map((partition) => partition.partitionId).sort((a, b) => a - b);
  }

  // The settings of a topic that are not the broker's defaults, or those named.
  async settings(topic, ...names) {
    const { resources } = await (await this.admin()).describeConfigs({ includeSynonyms: false,
      resources: [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: topic }] });
    const entries = resources[0].configEntries.filter((entry) => (names.length ? names.includes(entry.configName) : !entry.isDefault));
    return Object.fromEntries(entries.map((entry) => [entry.configName, entry.configValue]));
  }

  // [{partition, low, high}] of a topic: what there is to read.
  async marks(topic) {
    const admin = await this.admin();
    const offsets = await insist(`the offsets of ${topic}`, () => admin.fetchTopicOffsets(topic));
    return offsets.map(({ partition, low, high }) => ({ partition, low: Number(low), high: Number(high) }));
  }

  // What a group has stored for a topic, by partition; -1 where there is nothing.
  async offsets(group, topic) {
    const [found] = await (await this.admin()).fetchOffsets({ groupId: group, topics: [topic] });
    return new Map(found.partitions.map(({ partition, offset }) => [partition, Number(offset)]));
  }

  // Puts the offsets of a group where `at` says: a number for all, or 'end'. Needs a group without members.
  async setOffsets(group, topic, at) {
    const marks = await this.marks(topic);
    await (await this.admin()).setOffsets({ groupId: group, topic,
      partitions: marks.map(({ partition, high }) => ({ partition, offset: String(at === 'end' ? high : at) })) });
  }

  // The groups that the broker knows, with the number of their members.
  async groups() {
    const admin = await this.admin();
    const described = await insist('the groups', async () =>
      admin.describeGroups((await admin.listGroups()).groups.map((group) => group.groupId)));
    return new Map(described.groups.map((group) => [group.groupId, { state: group.state, members: group.members.length }]));
  }

  // Sends records as anybody could: [{key, value, headers, partition}].
  async send(topic, records) {
    const producer = this.client().producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner });
    await producer.connect();
    try {
      await producer.send({ topic, messages: records, acks: -1 });
    } finally {
      await producer.disconnect();
    }
  }

  // A consumer of topics from their beginning.
  async reader(...topics) {
    const reader = new Reader(this, topics);
    (this.readers ??= []).push(reader);
    await reader.start();
    return reader;
  }

  // Everything that is in a topic now, partition by partition in order.
  async records(topic) {
    const reader = await this.reader(topic);
    await reader.catchUp();
    await reader.stop();
    return reader.records;
  }

  // What kcat reads from the beginning to the end of a topic, a JSON map for each record.
  async kcat(topic, ...args) {
    const { stdout } = await run('kcat', ['-b', this.brokers, '-C', '-t', topic, '-o', 'beginning', '-e', '-q', '-J', ...args],
      { maxBuffer: 256 * 1024 * 1024, timeout: 60_000 });
    return stdout.split('\n').filter(Boolean).map((line) => JSON.parse(line));
  }
}

// Gathers the records of topics, with a group that is its own. In `records`, of each partition in order:
// {topic, partition, offset, key, value, headers, timestamp}; key and value are null or Buffers.
export class Reader {
  constructor(kafka, topics) {
    Object.assign(this, { kafka, topics, records: [], next: new Map() });
    // It outlives a broker that is away for a minute, and notices new partitions within a second.
    this.consumer = kafka.client({ retry: { ...quick.retry, retries: 1000 } }).consumer({ groupId: `test-${randomBytes(6).toString('hex')}`, maxWaitTimeInMs: 100, metadataMaxAge: 1000,
      sessionTimeout: 30_000, allowAutoTopicCreation: false });
  }

  async start() {
    await this.consumer.connect();
    await this.consumer.subscribe({ topics: this.topics, fromBeginning: true });
    await this.consumer.run({ eachMessage: async ({ topic, partition, message }) => this.take(topic, partition, message) });
  }

  // A rebalance may bring a record again: what was seen is not taken twice.
  take(topic, partition, { offset, key, value, headers, timestamp }) {
    const at = Number(offset);
    const place = `${topic}/${partition}`;
    if (at < (this.next.get(place) ?? 0)) return;
    this.next.set(place, at + 1);
    this.records.push({ topic, partition, offset: at, key, value, headers, timestamp: Number(timestamp) });
  }

  // Waits until everything is read that is there now.
  async catchUp(limitMs = 60_000) {
    for (const topic of this.topics) {
      const marks = (await this.kafka.marks(topic)).filter(({ low, high }) => high > low);
      // The last offset of a partition may be one that nobody gets to see: compacted away, or a mark of a transaction.
      await waitFor(() => marks.every(({ partition, high }) => (this.next.get(`${topic}/${partition}`) ?? 0) >= high), `${topic} is read to its end`, limitMs);
    }
  }

  async stop() {
    await this.consumer.disconnect().catch(() => {});
  }
}
