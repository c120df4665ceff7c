// SPDX-License-Identifier: Apache-2.0
// A completed occurrence has exactly one successor, whatever happens meanwhile.
import { describe, it, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { Bench } from '../lib/program.mjs';
import { Client, uuid } from '../lib/client.mjs';
import { granted, refused } from '../lib/expect.mjs';
import { readAll } from '../lib/pages.mjs';
import { waitFor } from '../lib/wait.mjs';

const statuses = ['open', 'in_progress', 'done', 'cancelled'];
const recurrenceActor = '7461736b-7769-8265-8000-000000000001';

describe('recurrence', { timeout: 600_000 }, () => {
  let bench;
  let me;

  const all = (list) => readAll(me, `/v1/lists/${list.id}/tasks`, { status: statuses, limit: 500 });
  const seriesOf = async (list, task) => (await all(list)).filter((one) => one.series === task.series)
    .sort((a, b) => a.occurrence - b.occurrence);
  const complete = async (task, body) => granted(await me.post(`/v1/tasks/${task.id}/complete`, body));
  const occurrence = (list, task, n) => waitFor(async () => (await seriesOf(list, task)).find((one) => one.occurrence === n),
    `occurrence ${n} of ${task.title}`);

  // Waits until the actor has acted on everything that has happened in the list so far, by giving it one thing more.
  async function settle(list) {
    const fence = await me.task(list.id, { title: 'a fence', due: '2030-01-01', recurrence: { rule: 'FREQ=DAILY;COUNT=2' } });
    await complete(fence);
    await occurrence(list, fence, 2);
  }

  // Completes one occurrence after the other; answers the due dates, until there is no further one or `n` were there.
  async function run(fields, n, zone = 'Europe/Zurich') {
    const list = await me.list();
    let task = await me.task(list.id, { time_zone: zone, ...fields });
    const dues = [task.due];
    while (dues.length < n) {
      await complete(task);
      const last = task;
      if (dues.length + 1 === n && fields.ends) break;
      task = await occurrence(list, last, last.occurrence + 1);
      dues.push(task.due);
    }
    return { list, task, dues };
  }

  before(async () => {
    bench = await Bench.start({ settings: { GATEWAYS: 2 } });
    me = await Client.register(bench.taskwire.url, { time_zone: 'Europe/Zurich' });
  });
  after(() => bench?.stop());

  it('the next occurrence is as the one before, but open, later, and with reminders of its own', async () => {
    const list = await me.list();
    const fields = {
      title: 'Water the plants', notes: 'all of them', priority: 'high', tags: ['home'], assignee: me.account, position: 'M',
      due: '2030-01-07T09:00', time_zone: 'America/New_York', recurrence: { rule: 'weekly' },
      reminders: [{ before: 'PT15M', for: 'all' }, { at: '2029-12-31T00:00:00Z' }],
    };
    const task = await me.task(list.id, { ...fields, status: 'in_progress' });
    const done = await complete(task);
    const next = await occurrence(list, task, 2);
    for (const field of ['list', 'title', 'notes', 'priority', 'tags', 'assignee', 'position', 'time_zone', 'recurrence', 'series']) {
      assert.deepEqual(next[field], done[field], field);
    }
    assert.deepEqual([next.status, next.completed_at, next.due, next.due_at], ['open', null, '2030-01-14T09:00', '2030-01-14T14:00:00Z']);
    assert.deepEqual(next.reminders.map(({ id, ...rest }) => rest), [{ before: 'PT15M', for: 'all' }], 'an instant was for that occurrence');
    assert.notEqual(next.reminders[0].id, done.reminders[0].id);
    assert.notEqual(next.id, task.id);
    const event = granted(await me.get(`/v1/tasks/${next.id}/history`)).items[0];
    assert.deepEqual([event.type, event.by, event.rev], ['task.created', recurrenceActor, done.rev + 1]);
  });

  it('days, weeks, months and years are counted as people do, in steps', async () => {
    for (const [rule, dues] of [
      ['daily', ['2030-02-27', '2030-02-28', '2030-03-01']],
      ['FREQ=DAILY;INTERVAL=10', ['2030-12-25', '2031-01-04']],
      ['weekly', ['2030-12-30', '2031-01-06']],
      ['FREQ=WEEKLY;INTERVAL=2', ['2030-01-01', '2030-01-15']],
      ['weekdays', ['2030-01-04', '2030-01-07', '2030-01-08']],
      ['monthly', ['2030-01-31', '2030-02-28', '2030-03-31', '2030-04-30']],
      ['FREQ=MONTHLY', ['2030-01-31', '2030-03-31', '2030-05-31']],
      ['FREQ=MONTHLY;INTERVAL=3', ['2030-11-30', '2031-05-30']], // February has no 30th
      ['FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1', ['2030-11-29', '2030-12-31']],
      ['FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=SU', ['2030-01-01', '2030-01-13', '2030-01-15']],
      ['yearly', ['2028-02-29', '2029-02-28', '2030-02-28']],
      ['FREQ=YEARLY', ['2028-02-29', '2032-02-29']],
      ['FREQ=YEARLY;INTERVAL=2', ['2030-07-01', '2032-07-01']],
    ]) {
      assert.deepEqual((await run({ title: rule, due: dues[0], recurrence: { rule } }, dues.length)).dues, dues, rule);
    }
  });

  it('nine in the morning stays nine in the morning when the clocks change', async () => {
    const { task, dues } = await run({ title: 'x', due: '2030-03-30T09:00', recurrence: { rule: 'daily' } }, 3);
    assert.deepEqual(dues, ['2030-03-30T09:00', '2030-03-31T09:00', '2030-04-01T09:00']);
    assert.equal(task.due_at, '2030-04-01T07:00:00Z');
    const instants = await run({ title: 'x', due: '2030-10-26T07:00:00Z', recurrence: { rule: 'daily' } }, 2);
    assert.deepEqual(instants.dues, ['2030-10-26T07:00:00Z', '2030-10-27T08:00:00Z']);
  });

  it('a rule with an end ends there', async () => {
    for (const [rule, due, n] of [
      ['FREQ=DAILY;COUNT=3', '2030-01-01', 3],
      ['FREQ=DAILY;COUNT=1', '2030-01-01', 1],
      ['FREQ=DAILY;UNTIL=20300103', '2030-01-01', 3],
      ['FREQ=DAILY;UNTIL=20300102T090000', '2030-01-01T09:00', 2],
      ['FREQ=DAILY;UNTIL=20300102T075959Z', '2030-01-01T09:00', 1],
    ]) {
      const { list, task } = await run({ title: rule, due, recurrence: { rule } }, n);
      await complete(task);
      await settle(list);
      assert.equal((await seriesOf(list, task)).length, n, rule);
    }
  });

  it('what was missed is passed over, or comes each by itself', async () => {
    const today = new Date().toISOString().slice(0, 10);
    const list = await me.list();
    const make = (missed) => me.task(list.id, { title: missed, due: '2020-01-01', time_zone: 'UTC', recurrence: { rule: 'daily', missed } });
    const [next, each, keep] = [await make('next'), await make('each'), await make('keep')];
    for (const task of [next, each, keep]) await complete(task);
    assert.ok((await occurrence(list, next, 2)).due >= today);
    for (const task of [each, keep]) {
      const second = await occurrence(list, task, 2);
      await complete(second);
      assert.deepEqual([second.due, (await occurrence(list, task, 3)).due], ['2020-01-02', '2020-01-03'], task.title);
    }
  });

  it('from completion counts from the day on which it was done', async () => {
    const list = await me.list();
    const fields = { due: '2030-01-01T09:00', time_zone: 'Asia/Tokyo', recurrence: { rule: 'FREQ=DAILY;INTERVAL=3', from: 'completion' } };
    const task = await me.task(list.id, fields);
    await complete(task, { at: '2026-05-31T20:00:00Z' }); // the first of June over there
    assert.equal((await occurrence(list, task, 2)).due, '2026-06-04T09:00');
  });

  it('cancelling skips an occurrence; done by a patch is done as well', async () => {
    const list = await me.list();
    const task = await me.task(list.id, { due: '2030-01-01', recurrence: { rule: 'daily' } });
    granted(await me.patch(`/v1/tasks/${task.id}`, { status: 'cancelled' }));
    const second = await occurrence(list, task, 2);
    granted(await me.patch(`/v1/tasks/${second.id}`, { status: 'done' }));
    assert.equal((await occurrence(list, task, 3)).due, '2030-01-03');
  });

  it('an occurrence that is completed again, or by many at once, has one successor', async () => {
    const list = await me.list();
    const task = await me.task(list.id, { due: '2030-01-01', recurrence: { rule: 'daily' } });
    await Promise.all(Array.from({ length: 8 }, () => complete(task)));
    await occurrence(list, task, 2);
    for (let i = 0; i < 3; i++) {
      granted(await me.post(`/v1/tasks/${task.id}/reopen`));
      await complete(task);
    }
    await settle(list);
    assert.deepEqual((await seriesOf(list, task)).map((one) => one.occurrence), [1, 2]);
  });

  it('one of fifty clients that complete at once makes the successor; a move in between takes it along', async () => {
    const [list, other] = [await me.list(), await me.list()];
    const task = await me.task(list.id, { due: '2030-01-01', recurrence: { rule: 'daily' } });
    await Promise.all(Array.from({ length: 50 }, () => complete(task)));
    await settle(list);
    assert.deepEqual((await seriesOf(list, task)).map((one) => one.occurrence), [1, 2]);
    const [second] = (await seriesOf(list, task)).filter((one) => one.occurrence === 2);
    const [, moved] = await Promise.all([complete(second), me.post(`/v1/tasks/${second.id}/move`, { list: other.id })]);
    granted(moved);
    const third = await waitFor(async () => [...await seriesOf(list, task), ...await seriesOf(other, task)].find((one) => one.occurrence === 3), 'the third');
    await settle(list);
    await settle(other);
    const numbers = [...await seriesOf(list, task), ...await seriesOf(other, task)].map((one) => one.occurrence).sort();
    assert.deepEqual(numbers, [1, 2, 3]);
    assert.equal(third.due, '2030-01-03');
  });

  it('reopening takes the successor back, unless somebody has changed it', async () => {
    const list = await me.list();
    const task = await me.task(list.id, { due: '2030-01-01', recurrence: { rule: 'daily' } });
    const under = await me.task(list.id, { title: 'a part', parent: task.id });
    await complete(task);
    const first = await occurrence(list, task, 2);
    const copies = (await all(list)).filter((one) => one.parent === first.id);
    assert.deepEqual(copies.map((one) => [one.title, one.status]), [['a part', 'open']]);
    assert.notEqual(copies[0].id, under.id);
    const reopened = await me.post(`/v1/tasks/${task.id}/reopen`);
    granted(reopened);
    assert.equal(reopened.headers.get('Successor-Kept'), null);
    assert.deepEqual((await seriesOf(list, task)).map((one) => one.occurrence), [1]);
    await complete(task);
    const again = await occurrence(list, task, 2);
    assert.notEqual(again.id, first.id);
    granted(await me.patch(`/v1/tasks/${again.id}`, { notes: 'mine' }));
    const beside = await me.post(`/v1/tasks/${task.id}/reopen`);
    granted(beside);
    assert.equal(beside.headers.get('Successor-Kept'), again.id);
    await complete(task);
    await settle(list);
    assert.deepEqual((await seriesOf(list, task)).map((one) => one.id).sort(), [task.id, again.id].sort());
    const { results: [result] } = granted(await me.post('/v1/commands', { commands: [{ id: uuid(), op: 'task.reopen', task: task.id }] }));
    assert.deepEqual([result.ok, result.successor_kept], [true, again.id]);
  });

  it('a part that was deleted from the successor is a change of it; parts of a task that does not recur are none', async () => {
    const list = await me.list();
    const task = await me.task(list.id, { due: '2030-01-01', recurrence: { rule: 'daily' } });
    for (const title of ['one', 'two']) await me.task(list.id, { title, parent: task.id });
    await complete(task);
    const next = await occurrence(list, task, 2);
    const copies = (await all(list)).filter((one) => one.parent === next.id);
    assert.equal(copies.length, 2);
    granted(await me.delete(`/v1/tasks/${copies[0].id}`));
    assert.equal((await me.post(`/v1/tasks/${task.id}/reopen`)).headers.get('Successor-Kept'), next.id);
    const plain = await me.task(list.id);
    await me.task(list.id, { title: 'a part', parent: plain.id });
    await complete(plain);
    assert.equal((await me.post(`/v1/tasks/${plain.id}/reopen`)).status, 200);
  });

  it('an occurrence that was deleted is not made again when the one before it is completed again', async () => {
    const list = await me.list();
    const task = await me.task(list.id, { due: '2030-01-01', recurrence: { rule: 'FREQ=DAILY;COUNT=3' } });
    const again = async (one) => {
      granted(await me.post(`/v1/tasks/${one.id}/reopen`));
      await complete(one);
      await settle(list);
    };
    await complete(task);
    const second = await occurrence(list, task, 2);
    granted(await me.delete(`/v1/tasks/${second.id}`));
    const third = await occurrence(list, task, 3);
    await again(task);
    assert.deepEqual((await seriesOf(list, task)).map((one) => one.occurrence), [1, 3]);
    granted(await me.delete(`/v1/tasks/${third.id}`)); // the last one
    await again(task);
    assert.deepEqual((await seriesOf(list, task)).map((one) => one.occurrence), [1]);
    granted(await me.post(`/v1/tasks/${second.id}/restore`));
    await again(task);
    assert.deepEqual((await seriesOf(list, task)).map((one) => one.id), [task.id, second.id]);
  });

  it('deleting an occurrence lets the next one come; deleting the series ends it', async () => {
    const list = await me.list();
    const make = () => me.task(list.id, { due: '2030-01-01', recurrence: { rule: 'daily' } });
    const one = await make();
    granted(await me.delete(`/v1/tasks/${one.id}`));
    assert.equal((await occurrence(list, one, 2)).due, '2030-01-02');
    granted(await me.post(`/v1/tasks/${one.id}/restore`));
    assert.deepEqual((await seriesOf(list, one)).map((task) => task.occurrence), [1], 'and restoring takes it back');
    const two = await make();
    await complete(two);
    const open = await occurrence(list, two, 2);
    granted(await me.delete(`/v1/tasks/${two.id}?series=all`));
    await settle(list);
    assert.deepEqual(await seriesOf(list, two), [], 'the open one went along');
    assert.equal((await me.get(`/v1/tasks/${open.id}`)).status, 404);
    refused(await me.delete(`/v1/tasks/${one.id}?series=some`), 400, 'malformed');
  });

  it('a series is read, changed and ended as a whole', async () => {
    const list = await me.list();
    const task = await me.task(list.id, { title: 'rent', due: '2030-01-31', recurrence: { rule: 'monthly', skip: ['2030-04-30'] } });
    const path = `/v1/series/${task.series}`;
    await complete(task);
    const second = await occurrence(list, task, 2);
    const series = granted(await me.get(`${path}?upcoming=3&limit=1`));
    assert.deepEqual(series.items.map((one) => one.id), [second.id]);
    assert.deepEqual(series.upcoming.map((one) => one.due), ['2030-03-31', '2030-05-31', '2030-06-30']);
    assert.equal(series.upcoming[0].due_at, '2030-03-31T21:59:59.999999Z');
    const rest = granted(await me.get(`${path}?limit=1&cursor=${encodeURIComponent(series.next)}`));
    assert.deepEqual([rest.items.map((one) => one.id), rest.next], [[task.id], null]);

    const changed = granted(await me.patch(path, { title: 'Rent', due: '2030-02-15' }));
    assert.deepEqual([changed.id, changed.title, changed.recurrence.start], [second.id, 'Rent', '2030-02-15']);
    await complete(second);
    const third = await occurrence(list, task, 3);
    assert.deepEqual([third.title, third.due], ['Rent', '2030-03-15']);
    assert.equal(granted(await me.patch(path, { recurrence: { rule: 'FREQ=MONTHLY;BYDAY=-1FR' } })).recurrence.start, '2030-03-29');

    const key = { 'Idempotency-Key': uuid() };
    assert.equal(granted(await me.delete(path, key)).id, third.id);
    const repeat = await me.delete(path, key);
    assert.equal(repeat.headers.get('Idempotent-Replay'), 'true');
    await settle(list);
    assert.deepEqual((await seriesOf(list, task)).map((one) => [one.status, one.recurrence === null]), [['done', false], ['done', false]]);
    refused(await me.patch(path, { title: 'x' }), 409, 'conflict');
    assert.deepEqual(granted(await me.get(path)).upcoming, []);
    refused(await me.get(`/v1/series/${uuid()}`), 404, 'not_found');
    refused(await me.delete(`/v1/series/${uuid()}`), 404, 'not_found');
    refused(await me.get(`${path}?upcoming=501`), 400, 'malformed');
  });

  it('a patch of a series finds the open occurrence, whoever completes it meanwhile', async () => {
    const list = await me.list();
    const task = await me.task(list.id, { due: '2030-01-01', recurrence: { rule: 'daily' } });
    await Promise.all(Array.from({ length: 10 }, async (_, i) => {
      const { items } = granted(await me.get(`/v1/series/${task.series}`));
      const open = items.find((one) => one.status === 'open');
      await Promise.all([open && me.post(`/v1/tasks/${open.id}/complete`), me.patch(`/v1/series/${task.series}`, { notes: `${i}` })]);
    }));
    await settle(list);
    const all = await seriesOf(list, task);
    assert.deepEqual(all.map((one) => one.occurrence), all.map((_, i) => i + 1));
    assert.equal(all.filter((one) => one.status === 'open').length, 1);
  });

  it('without a rule any more, deleted with its series, or not recurring, a task has no successor', async () => {
    const list = await me.list();
    const make = (fields) => me.task(list.id, { due: '2030-01-01', recurrence: { rule: 'daily' }, ...fields });
    const [stopped, deleted, plain] = [await make(), await make(), await make({ recurrence: null })];
    granted(await me.patch(`/v1/tasks/${stopped.id}`, { recurrence: null }));
    await complete(stopped);
    granted(await me.delete(`/v1/tasks/${deleted.id}?series=all`));
    await complete(plain);
    await settle(list);
    assert.deepEqual((await all(list)).filter((task) => task.title === 'A task').map((task) => task.id).sort(), [stopped.id, plain.id].sort());
  });

  it('a task that was reopened at once has none, or the one that it had', async () => {
    const list = await me.list();
    const task = await me.task(list.id, { due: '2030-01-01', recurrence: { rule: 'daily' } });
    const [, reopened] = await Promise.all([complete(task), me.post(`/v1/tasks/${task.id}/reopen`)]);
    granted(reopened);
    await complete(task);
    await occurrence(list, task, 2);
    await settle(list);
    assert.deepEqual((await seriesOf(list, task)).map((one) => one.occurrence), [1, 2]);
  });

  it('one successor each, with several processes, one of which is killed in the middle', async () => {
    const list = await me.list();
    const other = await bench.program().start();
    const tasks = await Promise.all(Array.from({ length: 30 }, (_, i) =>
      me.task(list.id, { title: `${i}`, due: '2030-01-01', recurrence: { rule: 'daily' } })));
    const through = (program) => new Client(program.url, me.token);
    await Promise.all(tasks.map(async (task, i) => {
      granted(await through(i % 2 ? other : bench.taskwire).post(`/v1/tasks/${task.id}/complete`));
    }));
    await bench.taskwire.kill();
    me.url = other.url;
    await settle(list);
    await bench.taskwire.start();
    for (const task of tasks) {
      await occurrence(list, task, 2);
      assert.equal((await seriesOf(list, task)).length, 2);
    }
    me.url = bench.taskwire.url;
    assert.equal((await other.stop()).code, 0);
  });

  it('what was completed right before the end has its successor after the restart', async () => {
    const list = await me.list();
    for (const end of ['kill', 'stop']) {
      const task = await me.task(list.id, { title: end, due: '2030-01-01', recurrence: { rule: 'daily' } });
      await complete(task);
      await bench.taskwire[end]();
      await bench.taskwire.start();
      await occurrence(list, task, 2);
      await settle(list);
      assert.equal((await seriesOf(list, task)).length, 2);
    }
  });
});
