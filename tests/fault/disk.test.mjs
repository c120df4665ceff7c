// SPDX-License-Identifier: Apache-2.0
// A full disk under the database: writes are refused as long as it lasts, reads go on, and all recovers by itself.
import test, { before, after } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Bench } from '../lib/program.mjs';
import { Client, uuid } from '../lib/client.mjs';
import { waitFor } from '../lib/wait.mjs';

let bench;
let small;
const isRoot = process.getuid() === 0;

// Runs a command with root's rights.
function asRoot(...args) {
  const [command, ...rest] = isRoot ? args : ['sudo', '-n', ...args];
  return execFileSync(command, rest, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

before(async () => {
  bench = await Bench.start({ start: false });
  small = join(bench.dir, 'small');
  mkdirSync(small);
  asRoot('mount', '-t', 'tmpfs', '-o', 'size=48m', 'tmpfs', small);
  asRoot('mkdir', join(small, 'space'));
  const owner = asRoot('stat', '-c', '%u:%g', join(bench.dir, 'pg', 'data')).trim();
  asRoot('chown', owner, join(small, 'space'));
  // Only the data is on the small disk: a full disk under the write-ahead log stops PostgreSQL altogether.
  await bench.cluster.query(`CREATE TABLESPACE small LOCATION '${join(small, 'space')}'`, 'postgres');
  await bench.cluster.query('ALTER DATABASE taskwire SET TABLESPACE small', 'postgres');
  bench.taskwire = await bench.program({ OUTCOME_TIMEOUT: 2 }).start();
});

after(async () => {
  await bench.cluster.stop();
  asRoot('umount', '-l', small);
  await bench.stop();
});

test('a full disk refuses writes, lets reads go on, and is forgotten when it is over', { timeout: 180_000 }, async () => {
  const client = await Client.register(bench.taskwire.url);
  const list = (await client.list()).id;
  const first = await client.task(list, { title: 'Before' });
  // Bodies that need pages of their own, so that no free space is found.
  const create = (id) => client.post(`/v1/lists/${list}/tasks`, { title: 'Big', notes: Buffer.from(uuid().repeat(1500)).toString('base64').slice(0, 60_000) },
    { 'Idempotency-Key': id });
  const ballast = join(small, 'ballast');
  try {
    asRoot('dd', 'if=/dev/zero', `of=${ballast}`, 'bs=64k');
  } catch (error) {
    assert.match(String(error.stderr), /No space left/);
  }
  const refused = [];
  await waitFor(async () => {
    const id = uuid();
    const answer = await create(id);
    if (answer.status !== 201) refused.push({ id, answer });
    return refused.length >= 3;
  }, 'writes are refused', 120_000);
  for (const { answer } of refused) {
    assert.equal(answer.status, 503, answer.text);
    assert.equal(answer.body.code, 'unavailable');
  }
  assert.equal((await client.get(`/v1/tasks/${first.id}`)).status, 200);
  assert.equal((await client.get(`/v1/lists/${list}/tasks`)).status, 200);
  const pid = bench.taskwire.pid;
  asRoot('rm', ballast);
  for (const { id } of refused) {
    const again = await waitFor(async () => {
      const answer = await create(id);
      return (answer.status === 201 || answer.status === 409) && answer;
    }, 'the write is taken', 60_000);
    assert.ok(again);
    assert.equal(await bench.cluster.value(`SELECT count(*) FROM event WHERE command = '${id}'`), '1');
  }
  assert.equal(bench.taskwire.pid, pid);
  assert.equal(bench.taskwire.exit, null);
});
