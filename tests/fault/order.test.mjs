// SPDX-License-Identifier: Apache-2.0
// What one client asks without waiting for answers is done in the order in which it asked, wherever the program has to
// look things up in between; and what cannot be stored costs the others little.
import { describe, it, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { Bench } from '../lib/program.mjs';
import { Client, uuid } from '../lib/client.mjs';
import { granted, refused } from '../lib/expect.mjs';
import { Hold } from '../lib/hold.mjs';
import { PgProxy } from '../lib/pgproxy.mjs';
import { waitFor } from '../lib/wait.mjs';

describe('commands that nobody waits for', () => {
  let bench;
  let me;

  before(async () => {
    bench = await Bench.start();
    me = await Client.register(bench.taskwire.url);
  });
  after(() => bench?.stop());

  // Sends them one behind the other on a socket; answers their results in that order.
  async function pipeline(commands) {
    const socket = await me.socket();
    const from = socket.messages.length;
    const results = () => socket.messages.slice(from).filter((message) => message.op === 'result');
    for (const command of commands) socket.send({ op: 'command', command });
    await waitFor(() => results().length === commands.length, 'all results');
    const byId = new Map(results().map((result) => [result.id, result]));
    await socket.close();
    return commands.map((command) => byId.get(command.id));
  }

  const patch = (task, title, list) => ({ id: uuid(), op: 'task.patch', task, ...(list && { list }), data: { title } });

  it('a task can be changed by its id alone right behind the command that makes it', async () => {
    const list = await me.list();
    for (let round = 0; round < 5; round++) {
      const task = uuid();
      const results = await pipeline([
        { id: uuid(), op: 'task.create', list: list.id, task, data: { title: 'one' } },
        ...['two', 'three', 'four'].map((title) => patch(task, title)),
      ]);
      for (const result of results) assert.ok(result.ok, JSON.stringify(result));
      const revs = results.map((result) => result.rev);
      assert.deepEqual(revs, [...revs].sort((a, b) => a - b));
      assert.equal(granted(await me.get(`/v1/tasks/${task}`)).title, 'four');
    }
  });

  it('changes of a task are made in their order, whether or not they name its list', async () => {
    const list = await me.list();
    const tasks = await Promise.all(Array.from({ length: 10 }, () => me.task(list.id)));
    // A process that has not heard of the tasks yet.
    await bench.taskwire.kill();
    await bench.taskwire.start();
    me.url = bench.taskwire.url;
    for (const task of tasks) {
      const commands = Array.from({ length: 12 }, (_, i) => patch(task.id, `title ${i}`, i % 3 === 0 ? undefined : list.id));
      const results = await pipeline(commands);
      for (const result of results) assert.ok(result.ok, JSON.stringify(result));
      const revs = results.map((result) => result.rev);
      assert.deepEqual(revs, [...revs].sort((a, b) => a - b));
      assert.equal(granted(await me.get(`/v1/tasks/${task.id}`)).title, 'title 11');
    }
  });

  it('the wrong command in a large batch costs a few more transactions, not one for each of the others', async (t) => {
    const list = await me.list();
    await bench.cluster.query("ALTER TABLE task ADD CONSTRAINT wrong CHECK (title <> 'wrong') NOT VALID");
    t.after(() => bench.cluster.query('ALTER TABLE task DROP CONSTRAINT wrong'));
    const hold = await Hold.shardsOf(bench.cluster, [list.id]);
    t.after(() => hold.release());
    const first = me.task(list.id);
    await hold.untilWaited();
    const batches = await bench.taskwire.metric('taskwire_writer_batch_commands_count');
    const titles = Array.from({ length: 200 }, (_, i) => (i === 77 ? 'wrong' : `title ${i}`));
    const commands = titles.map((title) => ({ id: uuid(), op: 'task.create', list: list.id, task: uuid(), data: { title } }));
    const sockets = await Promise.all(Array.from({ length: 4 }, (_, i) => pipelineHeld(commands.slice(i * 50, i * 50 + 50))));
    await hold.release();
    await first;
    const results = (await Promise.all(sockets.map((finish) => finish()))).flat();
    assert.deepEqual(results.filter((result) => !result.ok).map((result) => result.id), [commands[77].id]);
    const count = (await bench.taskwire.metric('taskwire_writer_batch_commands_count')) - batches;
    assert.ok(count <= 40, `${count} batches`);
  });

  // Sends commands; answers a function that waits for their results.
  async function pipelineHeld(commands) {
    const socket = await me.socket();
    const from = socket.messages.length;
    for (const command of commands) socket.send({ op: 'command', command });
    const results = () => socket.messages.slice(from).filter((message) => message.op === 'result');
    return async () => {
      await waitFor(() => results().length === commands.length, 'all results');
      return results();
    };
  }
});

describe('a repeat', () => {
  it('whose commit is cut is still said to be one', async (t) => {
    const bench = await Bench.start({ start: false });
    const proxy = await PgProxy.start(join(bench.dir, 'proxy'), join(bench.dir, 'pg'));
    t.after(async () => {
      await bench.stop();
      await proxy.stop();
    });
    bench.taskwire = await bench.program({}, proxy.url(bench.databaseUrl)).start();
    const client = await Client.register(bench.taskwire.url);
    const list = (await client.list()).id;
    const id = uuid();
    const create = () => client.post(`/v1/lists/${list}/tasks`, { title: 'Once' }, { 'Idempotency-Key': id });
    assert.equal((await create()).headers.get('idempotent-replay'), null);
    for (const how of ['before', 'after']) {
      proxy.cutNextCommit(how);
      const again = await create();
      assert.equal(proxy.cut, null, 'the commit was cut');
      assert.equal(again.status, 201, again.text);
      assert.equal(again.headers.get('idempotent-replay'), 'true');
    }
  });
});
