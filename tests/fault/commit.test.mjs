// SPDX-License-Identifier: Apache-2.0
// A connection that breaks around a COMMIT, a database that hangs or refuses: nobody is told anything but the truth.
import test, { before, after } from 'node:test';
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { Bench } from '../lib/program.mjs';
import { Client, uuid } from '../lib/client.mjs';
import { PgProxy } from '../lib/pgproxy.mjs';
import { waitFor } from '../lib/wait.mjs';

let bench;
let proxy;
let client;
let list;

before(async () => {
  bench = await Bench.start({ start: false });
  proxy = await PgProxy.start(join(bench.dir, 'proxy'), join(bench.dir, 'pg'));
  bench.taskwire = await bench.program({ OUTCOME_TIMEOUT: 4 }, proxy.url(bench.databaseUrl)).start();
  client = await Client.register(bench.taskwire.url);
  list = (await client.list()).id;
});

after(async () => {
  await bench.stop();
  await proxy.stop();
});

const create = (id, title = 'Once') => client.post(`/v1/lists/${list}/tasks`, { title }, { 'Idempotency-Key': id });
const times = (id) => bench.cluster.value(`SELECT count(*) FROM event WHERE command = '${id}'`);
const isReady = async () => (await client.get('/readyz')).status === 200;

for (const how of ['after', 'before']) {
  test(`a commit whose connection dies ${how} the server got it is answered rightly and applied once`, async () => {
    for (let i = 0; i < 5; i++) {
      const id = uuid();
      const cuts = proxy.cuts;
      proxy.cutNextCommit(how);
      const answer = await create(id);
      assert.equal(proxy.cuts, cuts + 1, 'the commit was cut');
      assert.equal(answer.status, 201, answer.text);
      assert.equal(answer.headers.get('idempotent-replay'), null, 'it is the first answer');
      assert.equal(await times(id), '1');
      const again = await create(id);
      assert.equal(again.headers.get('idempotent-replay'), 'true');
      assert.equal(again.body.id, answer.body.id);
    }
  });
}

test('a lost commit that cannot be looked up is said to be unknown, and a repeat finds it', async () => {
  const id = uuid();
  proxy.cutNextCommit('after');
  const answering = create(id);
  await waitFor(() => proxy.cut === null, 'the commit is cut');
  await proxy.refuse();
  const answer = await answering;
  assert.equal(answer.status, 503, answer.text);
  assert.equal(answer.body.code, 'outcome_unknown');
  assert.ok(Number(answer.headers.get('retry-after')) >= 1);
  await proxy.listen();
  await waitFor(isReady, 'taskwire is ready again');
  const again = await create(id);
  assert.equal(again.status, 201, again.text);
  assert.equal(again.headers.get('idempotent-replay'), 'true');
  assert.equal(await times(id), '1');
});

test('while the database refuses, writes get 503, readiness says why, and all recovers by itself', async () => {
  await proxy.refuse();
  await waitFor(async () => (await client.get('/readyz')).status === 503, 'it is not ready');
  const ready = await client.get('/readyz');
  assert.match(ready.text, /\S/);
  const refused = await create(uuid());
  assert.equal(refused.status, 503, refused.text);
  assert.equal(refused.body.code, 'unavailable');
  assert.equal((await client.get(`/v1/lists/${list}`)).status, 503);
  assert.equal((await client.get('/healthz')).status, 200);
  await proxy.listen();
  await waitFor(isReady, 'taskwire is ready again');
  assert.equal((await create(uuid())).status, 201);
  assert.equal((await client.get(`/v1/lists/${list}`)).status, 200);
});

test('while the database hangs, nobody waits for ever, and what was asked is applied at most once', async () => {
  const ids = Array.from({ length: 20 }, uuid);
  proxy.freeze();
  const answers = await Promise.all(ids.map((id) => create(id)));
  for (const answer of answers) assert.equal(answer.status, 503, answer.text);
  proxy.thaw();
  await waitFor(isReady, 'taskwire is ready again');
  for (const id of ids) {
    const again = await waitFor(async () => {
      const answer = await create(id);
      return answer.status === 201 && answer;
    }, 'the command is taken');
    assert.equal(again.status, 201);
    assert.equal(await times(id), '1');
  }
});
