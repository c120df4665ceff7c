// SPDX-License-Identifier: Apache-2.0
// Kafka with a login and with TLS, settings that are wrong, and secrets that must not be seen.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from '../lib/client.mjs';
import { Kafka } from '../lib/kafka.mjs';
import { Bench, command } from '../lib/program.mjs';
import { TOPICS } from '../lib/topics.mjs';
import { waitFor } from '../lib/wait.mjs';

const SECRET = 'Tr0ub4dor';
// Until 2.6.1 librdkafka answers SCRAM's challenge wrongly, which Kafka 4 notices.
const [major, minor, patch] = /librdkafka (\d+)\.(\d+)\.(\d+)/.exec(execFileSync('kcat', ['-V']).toString()).slice(1).map(Number);
const knowsScram = major * 1e6 + minor * 1e3 + patch >= 2_006_001;

describe('Kafka with a login', () => {
  let kafka;
  let bench;
  let dir;
  before(async () => {
    kafka = await Kafka.start({ login: `taskwire:${SECRET}`, tls: true });
    bench = await Bench.start({ kafka, start: false });
    dir = mkdtempSync(join(tmpdir(), 'tw-login-'));
    writeFileSync(join(dir, 'secret'), `${SECRET}\n`);
  });
  after(async () => {
    await bench?.stop();
    await kafka?.remove();
    if (dir) rmSync(dir, { recursive: true });
  });

  const login = (mechanism) => ({ KAFKA_SASL_MECHANISM: mechanism, KAFKA_SASL_USERNAME: 'taskwire', KAFKA_SASL_PASSWORD: SECRET });
  const readiness = async (program) => (await (await fetch(`${program.adminUrl}/readyz`)).json()).status;
  const ways = [
    ['a login', 'sasl', () => ({ ...login('PLAIN'), KAFKA_SECURITY_PROTOCOL: 'SASL_PLAINTEXT' })],
    ['TLS', 'tls', () => ({ KAFKA_SECURITY_PROTOCOL: 'SSL', KAFKA_SSL_CA_LOCATION: kafka.authority })],
    ['a login over TLS, the password in a file', 'sasl_tls', () => ({ ...login(knowsScram ? 'SCRAM-SHA-512' : 'PLAIN'), KAFKA_SASL_PASSWORD: undefined,
      KAFKA_SASL_PASSWORD_FILE: join(dir, 'secret'), KAFKA_SECURITY_PROTOCOL: 'SASL_SSL', KAFKA_SSL_CA_LOCATION: kafka.authority })],
  ];
  const given = (settings) => Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));

  for (const [name, kind, settings] of ways) {
    it(`works by ${name}, and tells nobody the password`, async () => {
      const program = bench.program({ ...given(settings()), KAFKA_BROKERS: await kafka.addresses(kind), LOG_LEVEL: 'debug' });
      await program.start();
      await waitFor(async () => (await readiness(program)) === 'ready', 'it is ready', 30_000);
      await waitFor(async () => (await kafka.topics(bench.prefix())).length === TOPICS.length, 'it has made its topics', 30_000);
      await kafka.deleteTopics(...await kafka.topics(bench.prefix()));
      const shown = await command(['config'], program.environment());
      assert.equal(shown.code, 0, shown.stderr);
      await program.stop();
      for (const said of [program.log, program.stdout, shown.stdout, shown.stderr]) assert.ok(!said.includes(SECRET), 'the password is nowhere');
      if (kind !== 'tls') assert.match(shown.stdout, /KAFKA_SASL_PASSWORD=\*+/);
    });
  }

  for (const [name, wrong] of [['a wrong password', { KAFKA_SASL_PASSWORD: 'wr0ngSecret' }], ['an authority that signed nothing', { KAFKA_SSL_CA_LOCATION: undefined }]]) {
    it(`is degraded with ${name}, and serves`, async () => {
      const program = bench.program({ ...given({ ...ways[2][2](), KAFKA_SASL_PASSWORD_FILE: undefined, KAFKA_SASL_PASSWORD: SECRET, ...wrong }),
        KAFKA_BROKERS: await kafka.addresses('sasl_tls') });
      await program.start();
      await waitFor(async () => (await readiness(program)) === 'degraded', 'it is degraded', 30_000);
      assert.ok((await Client.register(program.url)).account);
      await program.stop();
      assert.ok(!/wr0ngSecret|Tr0ub4dor/.test(program.log), 'the password is not in the log');
    });
  }

  it('a setting that librdkafka does not know, or that is not for the operator, stops the start and is named', async () => {
    const base = bench.program().environment();
    for (const [key, value] of [['KAFKA_SASL_MECHANISMUS', 'PLAIN'], ['KAFKA_SESSION_TIMEOUT_MS', 'soon'], ['KAFKA_ENABLE_IDEMPOTENCE', 'false'],
      ['KAFKA_AUTO_OFFSET_RESET', 'latest'], ['KAFKA_ENCODING', 'avro'], ['KAFKA_BROKERS', 'no broker']]) {
      const { code, stderr } = await command(['serve'], { ...base, [`TASKWIRE_${key}`]: value });
      assert.equal(code, 78, `${key}: ${stderr}`);
      assert.ok(stderr.includes(key), stderr);
    }
  });
});
