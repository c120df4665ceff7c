// SPDX-License-Identifier: Apache-2.0
// Other time zone data, made by zic as tzdata is: due instants and what reminds of them move, clients are told, once. What
// fires then is in clock.test.mjs.
import { describe, it, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { Bench } from '../lib/program.mjs';
import { Client } from '../lib/client.mjs';
import { granted } from '../lib/expect.mjs';
import { waitFor } from '../lib/wait.mjs';
import { makeZones } from '../lib/zones.mjs';

const author = '7461736b-7769-8265-8000-000000000003';

describe('time zone data that changes', { timeout: 300_000 }, () => {
  let bench;
  let me;

  const zones = (name, offset) => makeZones(join(bench.dir, name), { 'Test/Town': offset });
  const at = (program, dir) => {
    program.extra = { TZDIR: dir };
    return program;
  };
  const isDone = (program) => waitFor(() => program.log.includes('due dates are by the time zone data'), 'the data is noted');
  const retimed = async (task) => granted(await me.get(`/v1/tasks/${task.id}/history?limit=100`)).items.filter((event) => event.by === author);

  before(async () => {
    bench = await Bench.start({ start: false });
  });
  after(() => bench?.stop());

  it('moves due dates and reminders at the next start, by events, once for several processes', async () => {
    const [old, fresh] = [zones('old', 1), zones('new', 3)];
    const program = await at(bench.program(), old).start();
    await isDone(program);
    me = await Client.register(program.url, { time_zone: 'UTC' });
    const list = await me.list();
    const tasks = {};
    for (const [name, fields] of Object.entries({
      before: { due: '2028-06-01T09:00' }, after: { due: '2030-06-01T09:00', reminders: [{ before: 'PT1H' }] }, day: { due: '2030-06-01' },
      instant: { due: '2030-06-01T09:00:00Z' }, done: { due: '2030-06-01T09:00' },
    })) tasks[name] = await me.task(list.id, { title: name, time_zone: 'Test/Town', ...fields });
    granted(await me.post(`/v1/tasks/${tasks.done.id}/complete`));
    assert.equal(tasks.after.due_at, '2030-06-01T08:00:00Z');
    const before = granted(await me.get(`/v1/lists/${list.id}`)).head;
    await program.stop();

    const others = [at(bench.program(), fresh), at(bench.program(), fresh)];
    await Promise.all(others.map((other) => other.start()));
    await Promise.all(others.map((other) => waitFor(() => other.log.includes('due dates are by') || other.log.includes('main: started'), 'both')));
    me.url = others[0].url;
    const after = await waitFor(async () => {
      const task = granted(await me.get(`/v1/tasks/${tasks.after.id}`));
      return task.due_at === '2030-06-01T06:00:00Z' && task;
    }, 'the instant follows');
    await waitFor(async () => await bench.cluster.value('SELECT count(*) FROM zone_data WHERE since > now() - interval \'1 minute\'') === '1', 'noted');
    await waitFor(async () => granted(await me.get(`/v1/tasks/${tasks.day.id}`)).due_at === '2030-06-01T20:59:59.999999Z', 'the day follows');
    for (const name of ['before', 'instant', 'done']) {
      assert.equal(granted(await me.get(`/v1/tasks/${tasks[name].id}`)).due_at, tasks[name].due_at, name);
    }
    assert.equal((await retimed(tasks.after)).length, 1);
    assert.equal((await retimed(tasks.day)).length, 1);
    assert.equal(granted(await me.get(`/v1/lists/${list.id}`)).head, before + 2);
    assert.equal(after.due, '2030-06-01T09:00');
    await waitFor(async () => await bench.cluster.value('SELECT count(*) FROM reminder WHERE state = 0 AND fire_at = \'2030-06-01T05:00:00Z\'') === '1', 'the reminder follows');
    for (const other of others) assert.equal((await other.stop()).code, 0);
  });

  it('leaves everything alone when the data is the same', async () => {
    const head = await bench.cluster.value('SELECT max(id) FROM event');
    const digest = await bench.cluster.value('SELECT digest FROM zone_data');
    const program = await at(bench.program(), join(bench.dir, 'new')).start();
    me.url = program.url;
    const list = await me.list(); // the program works
    assert.ok(list.id);
    assert.equal(await bench.cluster.value('SELECT digest FROM zone_data'), digest);
    assert.equal(await bench.cluster.value(`SELECT count(*) FROM event WHERE id > ${head} AND by = '${author}'`), '0');
    await program.stop();
  });
});
