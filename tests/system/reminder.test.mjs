// SPDX-License-Identifier: Apache-2.0
// A reminder fires once, not before its time, and only if it still has a reason to.
import { describe, it, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { Bench } from '../lib/program.mjs';
import { Client } from '../lib/client.mjs';
import { granted } from '../lib/expect.mjs';
import { readAll } from '../lib/pages.mjs';
import { micros, waitFor } from '../lib/wait.mjs';

const reminderActor = '7461736b-7769-8265-8000-000000000002';
const LATE_MS = 3000; // on a busy machine
const HOUR = 3600_000;

describe('reminders', { timeout: 600_000 }, () => {
  let bench;
  let me;
  let friend;

  const soon = (ms) => new Date(Date.now() + ms);
  const patch = async (task, body) => granted(await me.patch(`/v1/tasks/${task.id}`, body));
  const events = (list) => readAll(me, `/v1/lists/${list.id}/events`, { limit: 500 });
  const fired = async (list, task) => (await events(list)).filter((event) => event.type === 'reminder.due' && (!task || event.task === task.id));
  const remindAt = (list, at, fields) => me.task(list.id, { reminders: [{ at: at.toISOString() }], ...fields });

  // Waits until a reminder that is set for after `at` has fired: then whatever was to fire before has fired.
  async function passed(list, at) {
    const fence = await remindAt(list, new Date(Math.max(at.getTime() + 100, Date.now() + 300)), { title: 'a fence' });
    await waitFor(async () => (await fired(list, fence)).length > 0, 'the fence fires', 30_000);
  }

  const firedOnce = async (list, task, at, limitMs) => {
    const [event] = await waitFor(async () => {
      const some = await fired(list, task);
      return some.length > 0 && some;
    }, `the reminder of ${task.title} fires`, limitMs);
    assert.equal(micros(event.reminder.at), micros(at.toISOString()));
    assert.ok(micros(event.at) >= micros(event.reminder.at), `${event.at} is before ${event.reminder.at}`);
    await passed(list, at);
    assert.equal((await fired(list, task)).length, 1, 'once');
    return event;
  };

  before(async () => {
    bench = await Bench.start({ settings: { GATEWAYS: 2 } });
    me = await Client.register(bench.taskwire.url);
    friend = await Client.register(bench.taskwire.url);
  });
  after(() => bench?.stop());

  describe('of a running program', { concurrency: true }, () => {
    it('fires at its instant and leaves the task as it is', async () => {
      const list = await me.list();
      const at = soon(1000);
      const task = await remindAt(list, at, { title: 'on time' });
      const event = await firedOnce(list, task, at);
      assert.ok(Date.parse(event.at) - at.getTime() < LATE_MS, `${event.at} is late for ${at.toISOString()}`);
      assert.deepEqual([event.by, event.set, event.after], [reminderActor, {}, task]);
      assert.deepEqual(event.reminder, { id: task.reminders[0].id, at: event.reminder.at, for: me.account });
      assert.deepEqual(granted(await me.get(`/v1/tasks/${task.id}`)), task);
    });

    it('comes over the socket, and says for whom it is', async () => {
      const list = await me.list();
      granted(await me.post(`/v1/lists/${list.id}/members`, { email: friend.email, role: 'editor' }), 201);
      const socket = await friend.socket();
      await socket.subscribe(list.id);
      const at = soon(1000).toISOString();
      await me.task(list.id, { assignee: friend.account, reminders: ['me', 'assignee', 'all'].map((whom) => ({ at, for: whom })) });
      await waitFor(() => socket.events().filter((event) => event.type === 'reminder.due').length === 3, 'three reminders');
      const shown = socket.events().filter((event) => event.type === 'reminder.due');
      assert.deepEqual(shown.map((event) => event.reminder.for).sort(), [me.account, 'all', 'assignee'].sort());
      assert.deepEqual(shown.map((event) => event.rev), [4, 5, 6]);
      await socket.close();
    });

    it('before a due date fires so long before it', async () => {
      const list = await me.list();
      const at = soon(1200);
      const due = new Date(at.getTime() + HOUR).toISOString();
      const task = await me.task(list.id, { title: 'before', due, reminders: [{ before: 'PT1H' }, { before: 'PT2H' }] });
      const event = await firedOnce(list, task, at);
      assert.equal(event.reminder.id, task.reminders[0].id);
    });

    it('of many, each fires once, and none before its instant', async () => {
      const list = await me.list();
      const from = Date.now() + 1500;
      const instants = Array.from({ length: 60 }, (_, i) => new Date(from + (i % 20) * 25));
      await Promise.all(instants.map((at, i) => remindAt(list, at, { title: `${i}` })));
      await waitFor(async () => (await fired(list)).length >= 60, 'all fire', 30_000);
      await passed(list, instants.at(-1));
      const all = (await fired(list)).filter((event) => event.after.title !== 'a fence');
      assert.deepEqual(all.map((event) => event.after.title).sort(), instants.map((_, i) => `${i}`).sort());
      for (const event of all) assert.ok(micros(event.at) >= micros(event.reminder.at), `${event.at} is before ${event.reminder.at}`);
    });

    it('moves with the due date', async () => {
      const list = await me.list();
      const at = soon(4000); // time enough to move it before, on a busy machine too
      const dueFor = (instant) => new Date(instant.getTime() + HOUR).toISOString();
      const task = await me.task(list.id, { title: 'moved', due: dueFor(at), reminders: [{ before: 'PT1H' }] });
      await patch(task, { due: dueFor(soon(HOUR)) });
      await passed(list, at);
      assert.deepEqual(await fired(list, task), [], 'not at the former instant');
      const sooner = soon(1000);
      await patch(task, { due: dueFor(sooner) });
      await firedOnce(list, task, sooner);
      const again = soon(1000);
      await patch(task, { due: dueFor(again) });
      await waitFor(async () => (await fired(list, task)).length === 2, 'a new instant is a new reminder');
    });

    it('does not fire once it has no reason to any more', async () => {
      const list = await me.list();
      const at = soon(6000); // time enough to end them all before
      const ends = {
        completed: (task) => me.post(`/v1/tasks/${task.id}/complete`),
        cancelled: (task) => me.patch(`/v1/tasks/${task.id}`, { status: 'cancelled' }),
        deleted: (task) => me.delete(`/v1/tasks/${task.id}`),
        removed: (task) => me.patch(`/v1/tasks/${task.id}`, { reminders: [] }),
        replaced: (task) => me.patch(`/v1/tasks/${task.id}`, { reminders: [{ at: '2030-01-01T00:00:00Z' }] }),
      };
      for (const [title, end] of Object.entries(ends)) granted(await end(await remindAt(list, at, { title })));
      const kept = await remindAt(list, at, { title: 'kept' });
      await firedOnce(list, kept, at);
      const names = (await fired(list)).map((event) => event.after.title);
      assert.deepEqual(names.filter((name) => name !== 'a fence'), ['kept']);
    });

    it('fires when the task was reopened in time', async () => {
      const list = await me.list();
      const at = soon(1500);
      const task = await remindAt(list, at, { title: 'reopened' });
      granted(await me.post(`/v1/tasks/${task.id}/complete`));
      granted(await me.post(`/v1/tasks/${task.id}/reopen`));
      await firedOnce(list, task, at);
    });

    it('never fires for an instant that was past when it was set', async () => {
      const list = await me.list();
      const past = soon(-5000);
      await remindAt(list, past, { title: 'past' });
      await me.task(list.id, { title: 'past', due: '2020-01-01', reminders: [{ before: 'PT1H' }] });
      const moved = await me.task(list.id, { title: 'past', due: '2030-01-01', reminders: [{ before: 'PT1H' }] });
      await patch(moved, { due: '2020-01-01' });
      const closed = await remindAt(list, soon(700), { title: 'past' });
      granted(await me.post(`/v1/tasks/${closed.id}/complete`));
      await passed(list, soon(700));
      granted(await me.post(`/v1/tasks/${closed.id}/reopen`));
      await passed(list, past);
      assert.deepEqual((await fired(list)).filter((event) => event.after.title === 'past'), []);
    });

    it('of the next occurrence is its own', async () => {
      const list = await me.list();
      const due = new Date(Date.now() - 24 * HOUR + HOUR + 1500);
      const task = await me.task(list.id, { title: 'daily', due: due.toISOString(), time_zone: 'UTC', recurrence: { rule: 'daily' },
        reminders: [{ before: 'PT1H' }] });
      granted(await me.post(`/v1/tasks/${task.id}/complete`));
      const next = await waitFor(async () => granted(await me.get(`/v1/lists/${list.id}/tasks`)).items[0], 'the next occurrence');
      await firedOnce(list, next, new Date(due.getTime() + 23 * HOUR));
    });
  });

  // --- what happens meanwhile ---

  it('that came due while nothing ran fires after the start, once', async () => {
    const list = await me.list();
    for (const end of ['kill', 'stop']) {
      const at = soon(1200);
      const task = await remindAt(list, at, { title: end });
      const gone = await me.task(list.id, { title: 'gone', reminders: [{ at: at.toISOString() }] });
      granted(await me.post(`/v1/tasks/${gone.id}/complete`));
      await bench.taskwire[end]();
      await waitFor(() => Date.now() > at.getTime(), 'its instant passes');
      await bench.taskwire.start();
      await firedOnce(list, task, at);
      assert.deepEqual(await fired(list, gone), []);
    }
  });

  it('fires once with several processes, and when the one that leads is killed', async () => {
    const list = await me.list();
    const other = await bench.program({ GATEWAYS: 2 }).start();
    const at = soon(1200);
    await firedOnce(list, await remindAt(list, at, { title: 'two processes' }), at);
    const later = soon(2000);
    const task = await remindAt(list, later, { title: 'taken over' });
    await bench.taskwire.kill();
    me.url = other.url;
    await firedOnce(list, task, later, 30_000);
    await bench.taskwire.start();
    me.url = bench.taskwire.url;
    await passed(list, later);
    assert.equal((await fired(list, task)).length, 1);
    assert.equal((await other.stop()).code, 0);
  });

  it('fires when the database was away at its instant', async () => {
    const list = await me.list();
    const at = soon(1500);
    const task = await remindAt(list, at, { title: 'database away' });
    await bench.cluster.stop();
    await waitFor(() => Date.now() > at.getTime(), 'its instant passes');
    await bench.cluster.start();
    await waitFor(async () => (await me.get('/readyz')).status === 200, 'the program is ready again', 30_000);
    await firedOnce(list, task, at, 30_000);
  });
});
