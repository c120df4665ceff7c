// SPDX-License-Identifier: Apache-2.0
// A process that is frozen, by SIGSTOP, in the middle of whatever it was doing, while another one goes on.
import test, { before, after } from 'node:test';
import assert from 'node:assert/strict';
import { Bench } from '../lib/program.mjs';
import { Client, uuid } from '../lib/client.mjs';
import { Hold } from '../lib/hold.mjs';
import { random, waitFor } from '../lib/wait.mjs';

let bench;
let first;
let second;
let client;
let list;
const seed = Number(process.env.TASKWIRE_SEED ?? Date.now() % 1e6);

before(async () => {
  bench = await Bench.start({ settings: { OUTCOME_TIMEOUT: 30 } });
  first = bench.taskwire;
  second = await bench.program({ OUTCOME_TIMEOUT: 30 }).start();
  client = await Client.register(first.url);
  list = (await client.list()).id;
});

after(async () => {
  await bench.stop();
});

const create = (url, fields = {}) => new Client(url, client.token).post(`/v1/lists/${list}/tasks`, { title: 'T', ...fields },
  { 'Idempotency-Key': uuid() });

// Writes over a process until told to stop; resolves to the number of successes.
function load(url, nAtOnce) {
  const state = { stop: false, n: 0 };
  const one = async () => {
    while (!state.stop) {
      try {
        if ((await create(url)).status === 201) state.n++;
      } catch {
        return;
      }
    }
  };
  state.done = Promise.all(Array.from({ length: nAtOnce }, one));
  return state;
}

test('a process frozen in the middle of a batch does not keep its shard', { timeout: 120_000 }, async (t) => {
  t.diagnostic(`seed ${seed}`);
  const dice = random(seed);
  for (let round = 0; round < 3; round++) {
    const busy = load(first.url, 8);
    await waitFor(() => busy.n > 20 + dice.below(50), 'the first process is busy');
    busy.stop = true;
    first.signal('SIGSTOP');
    const started = performance.now();
    const answer = await create(second.url);
    assert.equal(answer.status, 201, answer.text);
    assert.ok(performance.now() - started < 8000, 'the other one gets on within a few seconds');
    first.signal('SIGCONT');
    await busy.done;
  }
  const [head, n] = (await bench.cluster.query(`SELECT s.head, count(*) FROM stream s JOIN event e ON e.stream = s.id
    WHERE s.id = '${list}' GROUP BY s.head`))[0];
  assert.equal(head, n, 'revs are dense');
});

test('a session that holds a shard and does not go on is ended after two seconds', { timeout: 60_000 }, async (t) => {
  // It took the lock as a writer does and is busy with something else, so that no idle timeout sees it.
  const hold = await Hold.shardsOf(bench.cluster, [list], 'taskwire');
  t.after(() => hold.release());
  const started = performance.now();
  const answer = await create(first.url);
  assert.equal(answer.status, 201, answer.text);
  assert.ok(performance.now() - started < 8000, 'within a few seconds');
  assert.ok((await hold.ended) instanceof Error);
  assert.equal(await first.metric('taskwire_writer_sessions_ended_total'), 1);
});

test('the relay of a frozen leader is taken over, and waking up changes nothing', { timeout: 120_000 }, async () => {
  const leader = (await first.metric('taskwire_relay_leading')) === 1 ? first : second;
  const other = leader === first ? second : first;
  assert.equal(await other.metric('taskwire_relay_leading'), 0);
  const task = (await create(other.url, { due: '2030-01-01', recurrence: { rule: 'daily' } })).body;
  leader.signal('SIGSTOP');
  const done = await new Client(other.url, client.token).post(`/v1/tasks/${task.id}/complete`, {});
  assert.equal(done.status, 200, done.text);
  const successors = () => bench.cluster.value(`SELECT count(*) FROM task WHERE series = '${task.id}' AND occurrence = 2`);
  await waitFor(async () => (await successors()) === '1', 'the other process makes the successor');
  await waitFor(async () => (await other.metric('taskwire_relay_leading')) === 1, 'the other leads');
  leader.signal('SIGCONT');
  await waitFor(async () => (await leader.metric('taskwire_relay_leading')) === 0, 'the former leader stands by');
  const last = (await create(leader.url)).body;
  await waitFor(async () => (await bench.cluster.value(`SELECT rev FROM audit_head WHERE stream = '${list}'`)) >= String(last.rev), 'all is audited');
  assert.equal(await successors(), '1');
  assert.equal(await bench.cluster.value('SELECT count(*) FROM dead_letter'), '0');
});
