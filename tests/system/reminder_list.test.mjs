// SPDX-License-Identifier: Apache-2.0
// What will remind me and what has: pages of it, dismissed by one device and gone on all; and what becomes of reminders
// that nobody could fire in time.
import { describe, it, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { Bench } from '../lib/program.mjs';
import { Client } from '../lib/client.mjs';
import { granted, refused } from '../lib/expect.mjs';
import { readAll } from '../lib/pages.mjs';
import { micros, waitFor } from '../lib/wait.mjs';

describe('the list of reminders', { timeout: 300_000 }, () => {
  let bench;
  let me;
  let friend;

  const soon = (ms) => new Date(Date.now() + ms).toISOString();
  const PAST = '2020-01-01T00:00:00Z';
  const shown = async (client, query = {}) => readAll(client, '/v1/reminders', { from: PAST, ...query });
  const ofTask = async (client, task) => (await shown(client)).filter((item) => item.task === task.id);
  const until = (client, task, state, limitMs) => waitFor(async () => {
    const items = await ofTask(client, task);
    return items.length > 0 && items.every((item) => item.state === state) && items;
  }, `all reminders of ${task.title} are ${state}`, limitMs);

  async function shared() {
    const list = await me.list();
    granted(await me.post(`/v1/lists/${list.id}/members`, { email: friend.email, role: 'viewer' }), 201);
    return list;
  }

  before(async () => {
    bench = await Bench.start({ settings: { REMINDER_MAX_LATE: 5 } });
    me = await Client.register(bench.taskwire.url);
    friend = await Client.register(bench.taskwire.url);
  });
  after(() => bench?.stop());

  it('shows what is to come, then what fired, when and how late', async () => {
    const list = await me.list();
    const at = soon(3000);
    const task = await me.task(list.id, { title: 'one', reminders: [{ at, for: 'all' }] });
    const [pending] = await until(me, task, 'pending');
    assert.deepEqual(pending, {
      task: task.id, list: list.id, reminder: task.reminders[0].id, at: task.reminders[0].at, for: 'all', state: 'pending',
      fired_at: null, late_ms: null, dismissed_by: [],
    });
    const [item] = await until(me, task, 'fired', 30_000);
    const { fired_at: firedAt, late_ms: lateMs, ...rest } = item;
    const { fired_at: none, late_ms: neither, ...before } = pending;
    assert.deepEqual([rest, none, neither], [{ ...before, state: 'fired' }, null, null]);
    const late = micros(firedAt) - micros(at);
    assert.ok(late >= 0, `${firedAt} is before ${at}`);
    assert.equal(lateMs, Math.floor(Number(late) / 1000));
    const events = await readAll(me, `/v1/lists/${list.id}/events`, { limit: 500 });
    const [event] = events.filter((one) => one.type === 'reminder.due');
    assert.equal(event.at, firedAt);
    assert.equal(event.reminder.late ?? false, Number(late) > 1_000_000);
  });

  it('goes by instants and by pages', async () => {
    const list = await me.list();
    const instants = Array.from({ length: 12 }, (_, i) => `2030-05-01T00:00:${String(i).padStart(2, '0')}Z`);
    const task = await me.task(list.id, { title: 'many', reminders: [...instants].reverse().map((at) => ({ at })) });
    await waitFor(async () => (await ofTask(me, task)).length === 12, 'all are there');
    const found = await readAll(me, '/v1/reminders', { from: instants[2], to: instants[10], limit: 3 });
    assert.deepEqual(found.map((item) => item.at), instants.slice(2, 10));
    for (const query of ['from=yesterday', 'to=2030-01-01', 'limit=0', 'cursor=abc', 'state=fired']) {
      refused(await me.get(`/v1/reminders?${query}`), 400, 'malformed');
    }
  });

  it('has for each what is for them, of lists that they are in', async () => {
    const list = await shared();
    const stranger = await Client.register(bench.taskwire.url);
    const task = await me.task(list.id, { title: 'for whom', assignee: friend.account,
      reminders: ['me', 'assignee', 'all'].map((whom, i) => ({ at: `2031-01-01T00:00:0${i}Z`, for: whom })) });
    await waitFor(async () => (await ofTask(me, task)).length > 0, 'they are there');
    assert.deepEqual((await ofTask(me, task)).map((item) => item.for), [me.account, 'all']);
    assert.deepEqual((await ofTask(friend, task)).map((item) => item.for), ['assignee', 'all']);
    assert.deepEqual(await shown(stranger), []);
    granted(await me.patch(`/v1/tasks/${task.id}`, { assignee: me.account }));
    await waitFor(async () => (await ofTask(me, task)).length === 3, 'a new assignee sees theirs');
    assert.deepEqual((await ofTask(friend, task)).map((item) => item.for), ['all']);
    const other = await me.list();
    const token = granted(await me.post('/v1/tokens', { name: 'x', scopes: ['read'], lists: [other.id] }), 201).token;
    assert.deepEqual(await shown(new Client(bench.taskwire.url, token)), []);
    assert.equal((await me.delete(`/v1/lists/${list.id}/members/${friend.account}`)).status, 204);
    assert.deepEqual(await ofTask(friend, task), []);
  });

  it('forgets what was dismissed, on all devices of that account and on nobody else\'s', async () => {
    const list = await shared();
    const task = await me.task(list.id, { title: 'seen', reminders: [{ at: soon(1500), for: 'all' }] });
    const device = await friend.socket();
    await device.subscribe(friend.account);
    const [fired] = await until(friend, task, 'fired', 30_000);
    const path = `/v1/tasks/${task.id}/reminders/${fired.reminder}/dismiss`;
    const answer = await friend.post(path);
    assert.deepEqual(granted(answer), task, 'the task stays as it is');
    const event = await device.find((m) => m.op === 'event' && m.type === 'reminder.dismissed', 'the other device hears of it');
    assert.deepEqual([event.stream, event.task, event.reminder.id, event.set], [friend.account, task.id, fired.reminder, {}]);
    assert.equal(answer.headers.get('Command-Rev'), String(event.rev));
    await waitFor(async () => (await ofTask(me, task))[0].dismissed_by.length > 0, 'it is shown');
    assert.deepEqual((await ofTask(me, task))[0].dismissed_by, [friend.account]);
    granted(await me.post(path, { at: fired.at }));
    await waitFor(async () => (await ofTask(me, task))[0].dismissed_by.length === 2, 'each says so for themselves');
    const mine = await readAll(me, '/v1/me/events', { limit: 500 });
    assert.equal(mine.filter((one) => one.type === 'reminder.dismissed').length, 1);
    refused(await friend.post(path, { at: '2040-01-01T00:00:00Z' }), 409, 'conflict');
    refused(await friend.post(path, { when: PAST }), 422, 'invalid');
    await device.close();
  });

  it('of all-day tasks goes by the clock of their zone, across its changes', async () => {
    const list = await me.list();
    assert.equal(granted(await me.get('/v1/me')).all_day_reminder_time, '09:00');
    assert.equal(granted(await me.patch('/v1/me', { all_day_reminder_time: '07:30' })).all_day_reminder_time, '07:30');
    refused(await me.patch('/v1/me', { all_day_reminder_time: '7:30' }), 422, 'invalid');
    const task = await me.task(list.id, { title: 'all day', due: '2030-03-31', reminders: [
      { before: 'P1D' }, { before: 'PT0S' }, { before: '-P1D', time: '20:00' }] });
    assert.deepEqual(task.reminders.map((reminder) => reminder.time), ['07:30', '07:30', '20:00']);
    await waitFor(async () => (await ofTask(me, task)).length === 3, 'all are there');
    assert.deepEqual((await ofTask(me, task)).map((item) => item.at),
      ['2030-03-30T06:30:00Z', '2030-03-31T05:30:00Z', '2030-04-01T18:00:00Z']);
    const timed = granted(await me.patch(`/v1/tasks/${task.id}`, { due: '2030-03-31T12:00' }));
    assert.ok(timed.reminders.every((reminder) => !('time' in reminder)));
  });

  it('tells what was late from what was missed', async () => {
    const list = await me.list();
    const [lost, late] = [Date.now() + 1500, Date.now() + 7000];
    const make = (at, title) => me.task(list.id, { title, reminders: [{ at: new Date(at).toISOString() }] });
    const tasks = await Promise.all([make(lost, 'missed'), make(late, 'late')]);
    await until(me, tasks[1], 'pending');
    await bench.taskwire.kill();
    await waitFor(() => Date.now() > late + 1100, 'their instants pass', 30_000);
    await bench.taskwire.start();
    me.url = bench.taskwire.url;
    friend.url = bench.taskwire.url;
    const [second] = await until(me, tasks[1], 'fired', 30_000);
    const [first] = await until(me, tasks[0], 'missed', 30_000);
    assert.ok(second.late_ms > 1000);
    assert.deepEqual([first.fired_at, first.late_ms], [null, null]);
    const due = (await readAll(me, `/v1/lists/${list.id}/events`, { limit: 500 })).filter((event) => event.type === 'reminder.due');
    assert.deepEqual(due.map((event) => [event.task, event.reminder.late]), [[tasks[1].id, true]]);
  });
});
