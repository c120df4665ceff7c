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
const LATE_MS = 5000; // on a busy machine
const HOUR = 3600_000;

describe('reminders', { timeout: 600_000 }, () => {
  let bench;
  let me;
  let friend;

  const soon = (ms) => new Date(Date.now() + ms);
  const dueFor = (instant) => new Date(instant.getTime() + HOUR).toISOString(); // of what reminds an hour before
  const patch = async (task, body) => granted(await me.patch(`/v1/tasks/${task.id}`, body));
  const events = (list) => readAll(me, `/v1/lists/${list.id}/events`, { limit: 500 });
  const fired = async (list, task) => (await events(list)).filter((event) => event.type === 'reminder.due' && (!task || event.task === task.id));

  // Does what sets a reminder for an instant in so many milliseconds, and makes sure that it was set before; on a busy
  // machine that may take a second try. Answers the instant and what was answered.
  async function inTime(ms, set) {
    for (let wait = ms; ; wait *= 2) {
      const at = soon(wait);
      const task = await set(at);
      if (Date.now() < at.getTime()) return { at, task };
    }
  }

  // A new task with a reminder in so many milliseconds; `fields` of it may depend on the instant.
  const remindIn = (list, ms, fields) => inTime(ms, (at) => me.task(list.id, {
    reminders: [{ at: at.toISOString() }], ...(typeof fields === 'function' ? fields(at) : fields),
  }));

  // The same, and what `end` does to the task is done before that instant as well.
  const endedIn = (list, ms, fields, end) => inTime(ms, async (at) => {
    const task = await me.task(list.id, { reminders: [{ at: at.toISOString() }], ...fields });
    granted(await end(task));
    return task;
  });

  // Waits until a reminder that is set for after `at` has fired: then whatever was to fire before has fired.
  async function passed(list, at) {
    const fence = await remindIn(list, Math.max(at.getTime() + 100 - Date.now(), 300), { title: 'a fence' });
    await waitFor(async () => (await fired(list, fence.task)).length > 0, 'the fence fires', 30_000);
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
      const { at, task } = await remindIn(list, 1000, { title: 'on time' });
      const event = await firedOnce(list, task, at);
      assert.ok(Date.parse(event.at) - at.getTime() < LATE_MS, `${event.at} is late for ${at.toISOString()}`);
      assert.deepEqual([event.by, event.set, event.after], [reminderActor, {}, task]);
      const { late, ...reminder } = event.reminder; // the machine may be busy
      assert.deepEqual(reminder, { id: task.reminders[0].id, at: event.reminder.at, for: me.account });
      assert.equal(late, Date.parse(event.at) - at.getTime() > 1000 || undefined);
      assert.deepEqual(granted(await me.get(`/v1/tasks/${task.id}`)), task);
    });

    it('comes over the socket, and says for whom it is', async () => {
      const list = await me.list();
      granted(await me.post(`/v1/lists/${list.id}/members`, { email: friend.email, role: 'editor' }), 201);
      const socket = await friend.socket();
      await socket.subscribe(list.id);
      const { task } = await remindIn(list, 1000, (at) => ({
        assignee: friend.account, reminders: ['me', 'assignee', 'all'].map((whom) => ({ at: at.toISOString(), for: whom })),
      }));
      const ofTask = () => socket.events().filter((event) => event.type === 'reminder.due' && event.task === task.id);
      await waitFor(() => ofTask().length === 3, 'three reminders');
      assert.deepEqual(ofTask().map((event) => event.reminder.for).sort(), [me.account, 'all', 'assignee'].sort());
      assert.deepEqual(ofTask().map((event) => event.rev), [1, 2, 3].map((n) => task.rev + n));
      await socket.close();
    });

    it('before a due date fires so long before it', async () => {
      const list = await me.list();
      const { at, task } = await remindIn(list, 1200, (instant) => ({
        title: 'before', due: dueFor(instant), reminders: [{ before: 'PT1H' }, { before: 'PT2H' }],
      }));
      const event = await firedOnce(list, task, at);
      assert.equal(event.reminder.id, task.reminders[0].id);
    });

    it('of many, each fires once, and none before its instant', async () => {
      const list = await me.list();
      const set = await Promise.all(Array.from({ length: 60 }, (_, i) => remindIn(list, 1500 + (i % 20) * 25, { title: `${i}` })));
      const ids = new Set(set.map(({ task }) => task.id));
      const ofThem = async () => (await fired(list)).filter((event) => ids.has(event.task));
      await waitFor(async () => (await ofThem()).length >= 60, 'all fire', 30_000);
      await passed(list, new Date(Math.max(...set.map(({ at }) => at.getTime()))));
      const all = await ofThem();
      assert.deepEqual(all.map((event) => event.task).sort(), [...ids].sort());
      for (const event of all) assert.ok(micros(event.at) >= micros(event.reminder.at), `${event.at} is before ${event.reminder.at}`);
    });

    it('moves with the due date', async () => {
      const list = await me.list();
      const { at, task } = await remindIn(list, 3000, (instant) => ({ title: 'moved', due: dueFor(instant), reminders: [{ before: 'PT1H' }] }));
      await patch(task, { due: dueFor(soon(HOUR)) });
      await passed(list, at);
      assert.deepEqual(await fired(list, task), [], 'not at the former instant');
      const moveTo = (instant) => patch(task, { due: dueFor(instant) });
      await firedOnce(list, task, (await inTime(1000, moveTo)).at);
      await inTime(1000, moveTo);
      await waitFor(async () => (await fired(list, task)).length === 2, 'a new instant is a new reminder');
    });

    it('does not fire once it has no reason to any more', async () => {
      const list = await me.list();
      const ends = {
        completed: (task) => me.post(`/v1/tasks/${task.id}/complete`),
        cancelled: (task) => me.patch(`/v1/tasks/${task.id}`, { status: 'cancelled' }),
        deleted: (task) => me.delete(`/v1/tasks/${task.id}`),
        removed: (task) => me.patch(`/v1/tasks/${task.id}`, { reminders: [] }),
        replaced: (task) => me.patch(`/v1/tasks/${task.id}`, { reminders: [{ at: '2030-01-01T00:00:00Z' }] }),
      };
      const ended = await Promise.all(Object.entries(ends).map(([title, end]) => endedIn(list, 4000, { title }, end)));
      await passed(list, new Date(Math.max(...ended.map(({ at }) => at.getTime()))));
      for (const { task } of ended) assert.deepEqual(await fired(list, task), []);
    });

    it('fires when the task was reopened in time', async () => {
      const list = await me.list();
      const { at, task } = await endedIn(list, 4000, { title: 'reopened' }, async (made) => {
        granted(await me.post(`/v1/tasks/${made.id}/complete`));
        return me.post(`/v1/tasks/${made.id}/reopen`);
      });
      await firedOnce(list, task, at);
    });

    it('never fires for an instant that was past when it was set', async () => {
      const list = await me.list();
      const past = soon(-5000);
      await me.task(list.id, { title: 'past', reminders: [{ at: past.toISOString() }] });
      await me.task(list.id, { title: 'past', due: '2020-01-01', reminders: [{ before: 'PT1H' }] });
      const moved = await me.task(list.id, { title: 'past', due: '2030-01-01', reminders: [{ before: 'PT1H' }] });
      await patch(moved, { due: '2020-01-01' });
      const complete = (made) => me.post(`/v1/tasks/${made.id}/complete`);
      const { at, task: closed } = await endedIn(list, 3000, { title: 'closed' }, complete);
      await passed(list, at);
      granted(await me.post(`/v1/tasks/${closed.id}/reopen`));
      await passed(list, past);
      assert.deepEqual(await fired(list, closed), []);
      assert.deepEqual((await fired(list)).filter((event) => event.after.title === 'past'), []);
    });

    it('of the next occurrence is its own', async () => {
      const list = await me.list();
      const due = new Date(Date.now() - 24 * HOUR + HOUR + 4000);
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
      const { task: gone, at: before } = await remindIn(list, 3000, { title: 'gone' });
      granted(await me.post(`/v1/tasks/${gone.id}/complete`));
      const { at, task } = await remindIn(list, 1000, { title: end });
      await bench.taskwire[end]();
      await waitFor(() => Date.now() > Math.max(at.getTime(), before.getTime()), 'their instants pass');
      await bench.taskwire.start();
      await firedOnce(list, task, at);
      assert.deepEqual(await fired(list, gone), []);
    }
  });

  it('fires once with several processes, and when the one that leads is killed', async () => {
    const list = await me.list();
    const other = await bench.program({ GATEWAYS: 2 }).start();
    const both = await remindIn(list, 1000, { title: 'two processes' });
    await firedOnce(list, both.task, both.at);
    const { at: later, task } = await remindIn(list, 1500, { title: 'taken over' });
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
    const { at, task } = await remindIn(list, 1000, { title: 'database away' });
    await bench.cluster.stop();
    await waitFor(() => Date.now() > at.getTime(), 'its instant passes');
    await bench.cluster.start();
    await waitFor(async () => (await me.get('/readyz')).status === 200, 'the program is ready again', 30_000);
    await firedOnce(list, task, at, 30_000);
  });
});
