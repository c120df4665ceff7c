// SPDX-License-Identifier: Apache-2.0
// Tasks: what can be said of one, how it changes, and finding it again among others.
import { describe, it, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { Bench } from '../lib/program.mjs';
import { Client, uuid } from '../lib/client.mjs';
import { granted, refused } from '../lib/expect.mjs';
import { readAll } from '../lib/pages.mjs';
import { micros, random } from '../lib/wait.mjs';

const seed = Number(process.env.TASKWIRE_SEED ?? Date.now() % 1_000_000);

describe('tasks', { timeout: 600_000 }, () => {
  let bench;
  let url;
  let owner;
  let editor;

  const get = async (task, who = owner) => granted(await who.get(`/v1/tasks/${task.id}`));
  const patch = async (task, body) => granted(await owner.patch(`/v1/tasks/${task.id}`, body));
  const eventsOf = async (list, from) => granted(await owner.get(`/v1/lists/${list.id}/events?limit=500&after=${from}`)).items;

  async function shared() {
    const list = await owner.list();
    granted(await owner.post(`/v1/lists/${list.id}/members`, { email: editor.email, role: 'editor' }), 201);
    return list;
  }

  before(async () => {
    bench = await Bench.start();
    url = bench.taskwire.url;
    owner = await Client.register(url, { time_zone: 'Europe/Zurich' });
    editor = await Client.register(url, { time_zone: 'America/New_York' });
  });
  after(() => bench?.stop());

  // --- making one ---

  it('a task needs only a title; everything else has a default', async () => {
    const list = await owner.list();
    const answer = await owner.post(`/v1/lists/${list.id}/tasks`, { title: 'Just this' });
    const task = granted(answer, 201);
    const { id, created_at: createdAt, updated_at: updatedAt, position, ...rest } = task;
    assert.deepEqual(rest, {
      list: list.id, rev: 2, title: 'Just this', notes: '', status: 'open', priority: 'medium', tags: [], due: null,
      time_zone: null, due_at: null, recurrence: null, series: null, occurrence: null, reminders: [], assignee: null,
      parent: null, created_by: owner.account, completed_at: null, closed_rev: null, deleted_at: null,
    });
    assert.equal(createdAt, updatedAt);
    assert.match(position, /^[0-9A-Za-z]+$/);
    assert.equal(answer.headers.get('location'), `/v1/tasks/${id}`);
    const read = await owner.get(`/v1/tasks/${id}`);
    assert.deepEqual(granted(read), task);
    assert.equal(read.headers.get('etag'), answer.headers.get('etag'));
    const nulls = { notes: null, status: null, priority: null, tags: null, due: null, time_zone: null, recurrence: null,
      reminders: null, assignee: null, parent: null, position: null };
    const second = await owner.task(list.id, { title: 'Just this', ...nulls });
    for (const field of Object.keys(nulls)) {
      if (field !== 'position') assert.deepEqual(second[field], task[field], field);
    }
    assert.ok(second.position > position, 'behind the first');
  });

  it('a task can be made with every field at once', async () => {
    const list = await shared();
    const id = uuid();
    const reminder = uuid();
    const at = '2030-01-01T08:00:00.5Z';
    const body = {
      id, title: '🌱 Water the plants', notes: 'line one\nline two\t"quoted" \\ \u2028', status: 'in_progress', priority: 'urgent',
      tags: ['home', 'Zürich', '植物'], due: '2030-01-07T09:00', time_zone: 'Asia/Tokyo',
      recurrence: { rule: 'FREQ=WEEKLY;INTERVAL=2', from: 'completion', missed: 'each', start: '2030-01-07T09:00' },
      reminders: [{ id: reminder, before: 'PT15M', for: 'all' }, { at }, { before: 'P1D', for: 'assignee' }],
      assignee: editor.account, position: 'Vv0',
    };
    const task = granted(await owner.post(`/v1/lists/${list.id}/tasks`, body), 201);
    const { reminders, ...expected } = body;
    for (const [field, value] of Object.entries(expected)) assert.deepEqual(task[field], value, field);
    assert.equal(task.due_at, '2030-01-07T00:00:00Z');
    assert.equal(task.series, id);
    assert.equal(task.occurrence, 1);
    assert.deepEqual(task.reminders.map(({ id: one, ...rest }) => rest), [
      { before: 'PT15M', for: 'all' }, { at, for: owner.account }, { before: 'P1D', for: 'assignee' },
    ]);
    assert.equal(task.reminders[0].id, reminder);
    assert.equal(new Set(task.reminders.map((one) => one.id)).size, 3);
    assert.deepEqual(await get(task, editor), task);
  });

  it("a client may choose a task's id, but none that is taken in any list", async () => {
    const [list, other] = [await owner.list(), await editor.list()];
    const id = uuid();
    await owner.task(list.id, { id });
    refused(await owner.post(`/v1/lists/${list.id}/tasks`, { id, title: 'x' }), 409, 'exists');
    refused(await editor.post(`/v1/lists/${other.id}/tasks`, { id, title: 'x' }), 409, 'exists');
    refused(await owner.post(`/v1/lists/${list.id}/tasks`, { id: 'x', title: 'x' }), 422, 'invalid', ['/id']);
  });

  it('a task that is wrong is refused with a pointer to each wrong value, and nothing is stored', async () => {
    const list = await shared();
    const due = '2030-01-01';
    for (const [body, ...pointers] of [
      [{ title: undefined }, '/title'],
      [{ title: '' }, '/title'],
      [{ title: 'x'.repeat(501) }, '/title'],
      [{ title: 'a\nb' }, '/title'],
      [{ title: 'a\u0000b' }, '/title'],
      [{ notes: 'x'.repeat(64 * 1024 + 1) }, '/notes'],
      [{ notes: ['x'] }, '/notes'],
      [{ status: 'done' }, '/status'],
      [{ status: 'sleeping' }, '/status'],
      [{ priority: 'extreme' }, '/priority'],
      [{ priority: 3 }, '/priority'],
      [{ tags: Array.from({ length: 33 }, (_, i) => `tag ${i}`) }, '/tags'],
      [{ tags: ['ok', 'x'.repeat(65)] }, '/tags/1'],
      [{ tags: ['ok', ''] }, '/tags/1'],
      [{ tags: 'home' }, '/tags'],
      [{ tags: { add: ['home'] } }, '/tags'],
      [{ due: '2026-02-30' }, '/due'],
      [{ due: 'tomorrow' }, '/due'],
      [{ due: '2026-11-23T25:00' }, '/due'],
      [{ due: 1764000000 }, '/due'],
      [{ due, time_zone: 'Europe/Atlantis' }, '/time_zone'],
      [{ due, time_zone: '../../etc/passwd' }, '/time_zone'],
      [{ time_zone: 'Europe/Zurich' }, '/time_zone'],
      [{ recurrence: { rule: 'daily' } }, '/recurrence'],
      [{ due, recurrence: 'daily' }, '/recurrence'],
      [{ due, recurrence: {} }, '/recurrence/rule'],
      [{ due, recurrence: { rule: 'FREQ=SECONDLY' } }, '/recurrence/rule'],
      [{ due, recurrence: { rule: 'FREQ=WEEKLY;BYHOUR=9' } }, '/recurrence/rule'],
      [{ due, recurrence: { rule: 'daily', from: 'birth' } }, '/recurrence/from'],
      [{ due, recurrence: { rule: 'daily', until: due } }, '/recurrence/until'],
      [{ due, recurrence: { rule: 'FREQ=DAILY;UNTIL=20291231' } }, '/recurrence'],
      [{ reminders: [{ before: 'PT15M' }] }, '/reminders/0/before'],
      [{ due, reminders: [{ before: '15 minutes' }] }, '/reminders/0/before'],
      [{ reminders: [{ at: '2030-01-01' }] }, '/reminders/0/at'],
      [{ reminders: [{}] }, '/reminders/0'],
      [{ due, reminders: [{ before: 'PT1M', at: '2030-01-01T00:00:00Z' }] }, '/reminders/0'],
      [{ reminders: [{ at: '2030-01-01T00:00:00Z', for: 'nobody' }] }, '/reminders/0/for'],
      [{ reminders: [{ at: '2030-01-01T00:00:00Z', for: editor.account }] }, '/reminders/0/for'],
      [{ reminders: Array.from({ length: 17 }, (_, i) => ({ at: `2030-01-01T00:00:${10 + i}Z` })) }, '/reminders'],
      [{ assignee: uuid() }, '/assignee'],
      [{ assignee: 'me' }, '/assignee'],
      [{ parent: uuid() }, '/parent'],
      [{ position: '' }, '/position'],
      [{ position: 'a/b' }, '/position'],
      [{ position: 'x'.repeat(65) }, '/position'],
      [{ colour: 'red' }, '/colour'],
      [{ 'a/b~c': 1 }, '/a~1b~0c'],
      [{ priority: 'x', status: 'x', colour: 'x' }, '/colour', '/priority', '/status'],
    ]) {
      refused(await owner.post(`/v1/lists/${list.id}/tasks`, { title: 'x', ...body }), 422, 'invalid', pointers);
    }
    for (const field of ['list', 'rev', 'due_at', 'series', 'occurrence', 'created_at', 'created_by', 'updated_at',
      'completed_at', 'closed_rev', 'deleted_at']) {
      refused(await owner.post(`/v1/lists/${list.id}/tasks`, { title: 'x', [field]: null }), 422, 'invalid', [`/${field}`]);
    }
    assert.equal(granted(await owner.get(`/v1/lists/${list.id}`)).head, 2, 'nothing was stored');
  });

  it('what is just within the limits is taken', async () => {
    const list = await owner.list();
    const task = await owner.task(list.id, {
      title: '🌱'.repeat(500), notes: 'ü'.repeat(32 * 1024), tags: Array.from({ length: 32 }, (_, i) => `${'€'.repeat(62)}${10 + i}`),
      due: '2030-01-01', position: 'z'.repeat(64),
      reminders: Array.from({ length: 16 }, (_, i) => ({ at: `2030-01-01T00:00:${10 + i}Z` })),
    });
    assert.deepEqual(await get(task), task);
    await owner.task(list.id);
    assert.equal(granted(await owner.get(`/v1/lists/${list.id}/tasks`)).items.length, 2, 'even behind the highest position');
  });

  // --- due dates ---

  it('a due date is a day, a local time or an instant; the instant is computed in its zone', async () => {
    const list = await owner.list();
    for (const [due, zone, dueAt, shown = due] of [
      ['2026-12-01', undefined, '2026-12-01T22:59:59.999999Z'],
      ['2026-06-01', undefined, '2026-06-01T21:59:59.999999Z'],
      ['2026-12-01', 'America/New_York', '2026-12-02T04:59:59.999999Z'],
      ['2026-12-01', 'Pacific/Kiritimati', '2026-12-01T09:59:59.999999Z'],
      ['2024-02-29', 'UTC', '2024-02-29T23:59:59.999999Z'],
      ['2026-11-23T09:00', undefined, '2026-11-23T08:00:00Z'],
      ['2026-11-23T09:00', 'Asia/Kathmandu', '2026-11-23T03:15:00Z'],
      ['2026-11-23T09:00:30', 'UTC', '2026-11-23T09:00:30Z'],
      ['2026-11-23T08:00:00Z', undefined, '2026-11-23T08:00:00Z'],
      ['2026-11-23T10:00:00+02:00', undefined, '2026-11-23T08:00:00Z', '2026-11-23T08:00:00Z'],
      ['2026-11-23T00:30:00.25-09:30', 'UTC', '2026-11-23T10:00:00.25Z', '2026-11-23T10:00:00.25Z'],
      // The clock skips 02:30, and has it twice.
      ['2027-03-28T02:30', undefined, '2027-03-28T01:30:00Z'],
      ['2026-10-25T02:30', undefined, '2026-10-25T00:30:00Z'],
    ]) {
      const task = await owner.task(list.id, { due, time_zone: zone });
      assert.deepEqual([task.due, task.time_zone, task.due_at], [shown, zone ?? 'Europe/Zurich', dueAt]);
    }
  });

  it("without a zone, a due date is in the zone of who sets it, and stays there", async () => {
    const list = await shared();
    const task = granted(await editor.post(`/v1/lists/${list.id}/tasks`, { title: 'x', due: '2026-11-23T09:00' }), 201);
    assert.equal(task.time_zone, 'America/New_York');
    assert.equal(task.due_at, '2026-11-23T14:00:00Z');
    const moved = await patch(task, { due: '2026-11-24T09:00' });
    assert.deepEqual([moved.time_zone, moved.due_at], ['America/New_York', '2026-11-24T14:00:00Z']);
    const rezoned = await patch(task, { time_zone: 'Asia/Tokyo' });
    assert.deepEqual([rezoned.due, rezoned.due_at], ['2026-11-24T09:00', '2026-11-24T00:00:00Z']);
    assert.equal((await patch(task, { time_zone: null })).time_zone, 'Europe/Zurich');
    const none = await patch(task, { due: null });
    assert.deepEqual([none.due, none.time_zone, none.due_at], [null, null, null]);
  });

  it('a due date that recurrence or reminders need goes with them, not alone', async () => {
    const list = await owner.list();
    const task = await owner.task(list.id, { due: '2030-01-01', recurrence: { rule: 'daily' }, reminders: [{ before: 'PT1H' }] });
    refused(await owner.patch(`/v1/tasks/${task.id}`, { due: null }), 422, 'invalid', ['/due', '/due']);
    refused(await owner.patch(`/v1/tasks/${task.id}`, { due: null, recurrence: null }), 422, 'invalid', ['/due']);
    const bare = await patch(task, { due: null, recurrence: null, reminders: [] });
    assert.deepEqual([bare.due, bare.recurrence, bare.reminders], [null, null, []]);
  });

  // --- changing one ---

  it('a patch changes what it names; null takes a value away', async () => {
    const list = await shared();
    const full = {
      title: 'Before', notes: 'notes', priority: 'high', tags: ['a', 'b'], due: '2030-01-01', recurrence: { rule: 'FREQ=MONTHLY' },
      reminders: [{ before: 'PT1H' }], assignee: editor.account, position: 'M',
    };
    const task = await owner.task(list.id, full);
    const renamed = await patch(task, { title: 'After' });
    assert.deepEqual({ ...renamed, rev: 0, updated_at: '' }, { ...task, title: 'After', rev: 0, updated_at: '' });
    assert.equal(renamed.rev, task.rev + 1);
    assert.ok(micros(renamed.updated_at) > micros(task.updated_at));
    for (const [field, empty] of [['notes', ''], ['priority', 'medium'], ['tags', []], ['assignee', null], ['reminders', []],
      ['recurrence', null], ['due', null]]) {
      assert.deepEqual((await patch(task, { [field]: null }))[field], empty, field);
    }
    assert.notEqual((await patch(task, { position: null })).position, 'M');
    for (const field of ['title', 'status']) {
      refused(await owner.patch(`/v1/tasks/${task.id}`, { [field]: null }), 422, 'invalid', [`/${field}`]);
    }
    for (const body of [[], 'x', 7, null, true]) {
      const answer = await owner.patch(`/v1/tasks/${task.id}`, JSON.stringify(body));
      refused(answer, 422, 'invalid', ['']);
    }
  });

  it('the parts of a recurrence are merged', async () => {
    const list = await owner.list();
    const task = await owner.task(list.id, { due: '2030-01-01', recurrence: { rule: 'daily', from: 'completion' } });
    const changed = await patch(task, { recurrence: { rule: 'weekly' } });
    assert.deepEqual(changed.recurrence, { rule: 'FREQ=WEEKLY', from: 'completion', missed: 'next', start: '2030-01-01' });
    const reset = await patch(task, { recurrence: { from: null, missed: 'keep' } });
    assert.deepEqual(reset.recurrence, { rule: 'FREQ=WEEKLY', from: 'due', missed: 'keep', start: '2030-01-01' });
  });

  it('tags are replaced, or added to and taken from', async () => {
    const list = await owner.list();
    const task = await owner.task(list.id, { tags: ['a', 'b', 'c'] });
    const tags = async (change) => (await patch(task, { tags: change })).tags;
    assert.deepEqual(await tags({ add: ['d', 'a'] }), ['a', 'b', 'c', 'd']);
    assert.deepEqual(await tags({ remove: ['b', 'zzz'] }), ['a', 'c', 'd']);
    assert.deepEqual(await tags({ remove: ['a'], add: ['e'] }), ['c', 'd', 'e']);
    assert.deepEqual(await tags(['x']), ['x']);
    assert.deepEqual(await tags({}), ['x']);
    refused(await owner.patch(`/v1/tasks/${task.id}`, { tags: { add: ['y'], put: ['z'] } }), 422, 'invalid', ['/tags/put']);
    refused(await owner.patch(`/v1/tasks/${task.id}`, { tags: { add: ['y', ''] } }), 422, 'invalid', ['/tags/add/1']);
    await patch(task, { tags: Array.from({ length: 32 }, (_, i) => `t${i}`) });
    refused(await owner.patch(`/v1/tasks/${task.id}`, { tags: { add: ['one more'] } }), 422, 'invalid', ['/tags']);
    assert.equal((await tags({ remove: ['t0'], add: ['one more'] })).length, 32);
  });

  it('two who add tags at the same time both have theirs in the end', async () => {
    const list = await shared();
    const task = await owner.task(list.id);
    await Promise.all([owner, editor].flatMap((who, i) => Array.from({ length: 8 }, async (_, k) => {
      granted(await who.patch(`/v1/tasks/${task.id}`, { tags: { add: [`${i}-${k}`] } }));
    })));
    assert.equal((await get(task)).tags.length, 16);
  });

  it('a reminder that is sent again keeps its id', async () => {
    const list = await shared();
    const at = '2030-01-01T08:00:00Z';
    const task = await owner.task(list.id, { due: '2030-01-02', reminders: [{ before: 'PT1H' }, { at }] });
    const [relative, absolute] = task.reminders;
    const again = await patch(task, { reminders: [{ at }, { before: 'PT60M' }, { before: 'PT2H' }] });
    assert.deepEqual(again.reminders.slice(0, 2).map((one) => one.id), [absolute.id, relative.id]);
    const other = granted(await editor.patch(`/v1/tasks/${task.id}`, { reminders: [...again.reminders, { at, for: 'me' }] }));
    assert.deepEqual(other.reminders.slice(0, 3), again.reminders, "others' reminders may stay as they are");
    assert.equal(other.reminders[3].for, editor.account);
    const twice = [{ id: relative.id, before: 'PT1H' }, { id: relative.id, before: 'PT3H' }];
    refused(await owner.patch(`/v1/tasks/${task.id}`, { reminders: twice }), 422, 'invalid', ['/reminders/1']);
  });

  it('a patch that changes nothing is an event with an empty set, and leaves the task as it is', async () => {
    const list = await owner.list();
    const task = await owner.task(list.id, { tags: ['a'] });
    assert.deepEqual(await patch(task, {}), task);
    assert.deepEqual(await patch(task, { title: task.title, tags: { add: ['a'] }, priority: 'medium' }), task);
    const events = await eventsOf(list, 2);
    assert.deepEqual(events.map((event) => [event.rev, event.type, event.set, event.was]), [
      [3, 'task.updated', {}, {}], [4, 'task.updated', {}, {}],
    ]);
  });

  // --- status ---

  it('completing, by whichever way, is one kind of event; reopening shows the whole task', async () => {
    const list = await owner.list();
    const task = await owner.task(list.id);
    const done = granted(await owner.post(`/v1/tasks/${task.id}/complete`, {}));
    assert.equal(done.status, 'done');
    assert.equal(done.completed_at, done.updated_at);
    assert.deepEqual(granted(await owner.post(`/v1/tasks/${task.id}/complete`)), done, 'twice is as good as once');
    const open = granted(await owner.post(`/v1/tasks/${task.id}/reopen`));
    assert.deepEqual([open.status, open.completed_at], ['open', null]);
    assert.equal((await patch(task, { status: 'done' })).status, 'done');
    assert.equal((await patch(task, { status: 'in_progress' })).completed_at, null);
    assert.ok((await patch(task, { status: 'cancelled' })).completed_at);
    refused(await owner.post(`/v1/tasks/${task.id}/complete`), 409, 'conflict');
    const events = await eventsOf(list, 2);
    assert.deepEqual(events.map((event) => event.type), ['task.completed', 'task.updated', 'task.reopened', 'task.completed',
      'task.reopened', 'task.cancelled']);
    assert.deepEqual(events[2].set.title, task.title);
    assert.deepEqual(events[2].was, { status: 'done', completed_at: done.completed_at, closed_rev: done.rev });
  });

  it('a completion may be said to have been earlier, but not later', async () => {
    const list = await owner.list();
    const task = await owner.task(list.id);
    const path = `/v1/tasks/${task.id}/complete`;
    refused(await owner.post(path, { at: new Date(Date.now() + 3600_000).toISOString() }), 422, 'invalid', ['/at']);
    refused(await owner.post(path, { at: 'yesterday' }), 422, 'invalid', ['/at']);
    refused(await owner.post(path, { when: '2026-01-01T00:00:00Z' }), 422, 'invalid', ['/when']);
    assert.equal(granted(await owner.post(path, { at: '2026-01-01T00:00:00Z' })).completed_at, '2026-01-01T00:00:00Z');
  });

  it('a deleted task is gone for everybody, but not its history', async () => {
    const list = await shared();
    const task = await owner.task(list.id);
    assert.ok(granted(await editor.delete(`/v1/tasks/${task.id}`)).deleted_at);
    for (const attempt of [() => owner.get(`/v1/tasks/${task.id}`), () => owner.patch(`/v1/tasks/${task.id}`, { notes: 'x' }),
      () => owner.post(`/v1/tasks/${task.id}/complete`), () => owner.delete(`/v1/tasks/${task.id}`)]) {
      refused(await attempt(), 404, 'not_found');
    }
    const statuses = 'status=open&status=in_progress&status=done&status=cancelled';
    assert.deepEqual(granted(await owner.get(`/v1/lists/${list.id}/tasks?${statuses}`)).items, []);
    refused(await owner.post(`/v1/lists/${list.id}/tasks`, { id: task.id, title: 'again' }), 409, 'exists');
    const { items } = granted(await owner.get(`/v1/tasks/${task.id}/history`));
    assert.deepEqual(items.map((event) => [event.type, event.by]), [['task.created', owner.account], ['task.deleted', editor.account]]);
  });

  it("a task's history has every change in order, with author, old and new values", async () => {
    const list = await shared();
    const task = await owner.task(list.id, { title: 'one' });
    await owner.task(list.id, { title: 'not this one' });
    granted(await editor.patch(`/v1/tasks/${task.id}`, { title: 'two' }));
    await patch(task, { title: 'three', priority: 'low' });
    const path = `/v1/tasks/${task.id}/history`;
    const { items } = granted(await editor.get(path));
    assert.deepEqual(items.map((event) => event.type), ['task.created', 'task.updated', 'task.updated']);
    assert.deepEqual(items.slice(1).map(({ by, set, was }) => ({ by, set, was })), [
      { by: editor.account, set: { title: 'two' }, was: { title: 'one' } },
      { by: owner.account, set: { title: 'three', priority: 'low' }, was: { title: 'two', priority: 'medium' } },
    ]);
    assert.deepEqual(await readAll(owner, path, { limit: 1 }), items);
    const outsider = await Client.register(url);
    refused(await outsider.get(path), 404, 'not_found');
  });

  it('set, laid over the state before, gives the state that is read', async () => {
    const list = await shared();
    const task = await owner.task(list.id, { due: '2030-01-01', tags: ['a'] });
    await patch(task, { due: '2030-05-05T10:00', reminders: [{ before: 'PT1H' }] });
    await patch(task, { assignee: editor.account, tags: { add: ['b'] }, recurrence: { rule: 'yearly' } });
    granted(await owner.post(`/v1/tasks/${task.id}/complete`));
    granted(await owner.post(`/v1/tasks/${task.id}/reopen`));
    let state = {};
    for (const event of granted(await owner.get(`/v1/tasks/${task.id}/history`)).items) {
      state = { ...state, ...event.set, rev: event.rev, updated_at: event.at };
      assert.deepEqual(state, event.after);
    }
    assert.deepEqual(state, await get(task));
  });

  // --- finding ---

  const keys = {
    due: (task) => task.due_at === null ? null : micros(task.due_at),
    priority: (task) => BigInt(['low', 'medium', 'high', 'urgent'].indexOf(task.priority)),
    position: (task) => Buffer.from(task.position),
    created_at: (task) => micros(task.created_at),
    updated_at: (task) => micros(task.updated_at),
    title: (task) => Buffer.from(task.title.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase()),
  };
  const order = (a, b) => a instanceof Buffer ? Buffer.compare(a, b) : a < b ? -1 : a > b ? 1 : 0;

  // What a page has to show: in the order of the key, then of the id; without a due date at the end either way.
  function sorted(tasks, sort) {
    const sign = sort.startsWith('-') ? -1 : 1;
    const key = keys[sort.replace('-', '')];
    return [...tasks].sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if ((x === null) !== (y === null)) return x === null ? 1 : -1;
      return sign * (order(x, y) || order(a.id, b.id));
    });
  }

  const sorts = Object.keys(keys).flatMap((key) => [key, `-${key}`]);
  const titles = ['apple', 'Banana', 'banana', 'Äpfel', 'zebra', '10', '9', 'a b'];
  const statuses = ['open', 'in_progress', 'done', 'cancelled'];

  async function someTask(dice, list, extra = {}) {
    const fields = {
      title: dice.pick(titles), priority: dice.pick(['low', 'medium', 'high', 'urgent']),
      tags: ['red', 'green', 'blue'].filter(() => dice.chance(0.4)), ...extra,
    };
    if (dice.chance(0.6)) fields.due = dice.pick(['2026-01-01', '2026-06-01T10:00', '2026-06-01T08:00:00Z', '2030-01-01']);
    if (dice.chance(0.3)) fields.assignee = owner.account;
    if (dice.chance(0.3)) fields.position = dice.pick(['a', 'm', 'z5']);
    const task = await owner.task(list.id, fields);
    const status = dice.pick(statuses);
    return status === 'open' ? task : patch(task, { status });
  }

  it('filters and sorts find exactly what they should, in order, page by page', async (t) => {
    t.diagnostic(`TASKWIRE_SEED=${seed}`);
    const dice = random(seed);
    const me = owner;
    const lists = [await me.list('one'), await me.list('two')];
    const all = [];
    for (let i = 0; i < 45; i++) all.push(await someTask(dice, dice.pick(lists)));
    const some = (items) => items.filter(() => dice.chance(0.4));
    for (let i = 0; i < 40; i++) {
      const query = { sort: sorts[i % sorts.length], limit: dice.pick([3, 10, 500]), list: lists.map((list) => list.id) };
      const wanted = { status: some(statuses), priority: some(['low', 'medium', 'high', 'urgent']), tag: some(['red', 'green', 'blue']) };
      for (const [name, words] of Object.entries(wanted)) {
        if (words.length) query[name] = words;
      }
      if (dice.chance(0.3)) query.assignee = [owner.account, uuid()];
      const one = dice.chance(0.5) && dice.pick(lists);
      if (one) delete query.list;
      const expected = all.filter((task) =>
        (!one || task.list === one.id) &&
        (wanted.status.length ? wanted.status : ['open', 'in_progress']).includes(task.status) &&
        (!wanted.priority.length || wanted.priority.includes(task.priority)) &&
        (!wanted.tag.length || wanted.tag.some((tag) => task.tags.includes(tag))) &&
        (!query.assignee || query.assignee.includes(task.assignee)));
      const found = await readAll(me, one ? `/v1/lists/${one.id}/tasks` : '/v1/tasks', query);
      const shown = (tasks) => tasks.map((task) => task.id);
      assert.deepEqual(shown(found), shown(sorted(expected, query.sort)), JSON.stringify(query));
      for (const task of found) assert.deepEqual(task, all.find((other) => other.id === task.id));
    }
  });

  it('a list is in the order of positions by default, all lists in that of due dates', async () => {
    const me = await Client.register(url);
    const list = await me.list();
    const make = (title, fields) => me.task(list.id, { title, ...fields });
    await make('third', { position: 'x', due: '2030-01-01' });
    await make('first', { position: 'A' });
    await make('second', { position: 'a', due: '2029-01-01' });
    const names = async (path) => granted(await me.get(path)).items.map((task) => task.title);
    assert.deepEqual(await names(`/v1/lists/${list.id}/tasks`), ['first', 'second', 'third']);
    assert.deepEqual(await names('/v1/tasks'), ['second', 'third', 'first']);
  });

  it('no task is lost or doubled by paging while others change', async (t) => {
    t.diagnostic(`TASKWIRE_SEED=${seed}`);
    const dice = random(seed + 1);
    const list = await owner.list();
    const [still, moving] = [[], []];
    for (let i = 0; i < 36; i++) {
      const group = i % 2 ? still : moving;
      group.push(await owner.task(list.id, { title: dice.pick(titles), priority: dice.pick(['low', 'high']),
        tags: [i % 2 ? 'still' : 'moving'], due: dice.pick([null, '2026-01-01', '2026-06-01', '2030-01-01']) }));
    }
    const disturb = async () => {
      const task = dice.pick(moving);
      granted(await owner.patch(`/v1/tasks/${task.id}`, {
        title: dice.pick(titles), priority: dice.pick(['low', 'medium', 'urgent']), position: dice.pick(['a', 'b0', 'zz']),
        due: dice.pick([null, '2025-01-01', '2031-01-01']), status: dice.pick(statuses),
      }));
      await owner.task(list.id, { title: dice.pick(titles), tags: ['moving'], due: dice.pick([null, '2026-03-03']) });
    };
    for (const sort of sorts) {
      const found = await readAll(owner, `/v1/lists/${list.id}/tasks`, { sort, limit: 7 }, disturb);
      const ids = found.filter((task) => task.tags.includes('still')).map((task) => task.id);
      assert.deepEqual(ids, sorted(still, sort).map((task) => task.id), sort);
    }
  });

  it('a page of large tasks is shorter than its limit, and nothing is lost', async () => {
    const list = await owner.list();
    const made = await Promise.all(Array.from({ length: 80 }, (_, i) => owner.task(list.id, { title: `${i}`, notes: 'x'.repeat(60_000) })));
    const first = granted(await owner.get(`/v1/lists/${list.id}/tasks?limit=500`));
    assert.ok(first.items.length > 10 && first.items.length < 80, `${first.items.length} in the first page`);
    const all = await readAll(owner, `/v1/lists/${list.id}/tasks`, { limit: 500 });
    assert.deepEqual(all.map((task) => task.id).sort(), made.map((task) => task.id).sort());
  });

  it('a query that is wrong is refused', async () => {
    const list = await owner.list();
    const other = await owner.list();
    const paths = [`/v1/lists/${list.id}/tasks`, '/v1/tasks'];
    for (const path of paths) {
      for (const query of ['status=sleeping', 'priority=', 'assignee=myself', 'due=tomorrow', 'due=', 'due=today&due=week', 'due_from=', 'due_from=soon',
        'due_to=2026-02-30', 'due_to=2026-11-23T09:00:00+01:00', 'recurring=yes', 'recurring=', 'deleted=1', 'q=a&q=b', 'q=%00', 'sort=colour', 'sort=due&sort=title', 'sort=--due',
        'limit=0', 'limit=501', 'limit=-1', 'limit=ten', 'limit=5&limit=6', 'cursor=', 'cursor=nonsense', 'colour=red', 'status=%ff',
        'tag=%00', 'limit=%', 'limit=18446744073709551617']) {
        const answer = refused(await owner.get(`${path}?${query}`), 400, 'malformed');
        if (/^[a-z_]+=[^&%]*$/.test(query)) assert.ok(answer.detail.includes(`'${query.split('=')[0]}'`), answer.detail);
      }
    }
    refused(await owner.get(`${paths[0]}?list=${list.id}`), 400, 'malformed');
    for (let i = 0; i < 3; i++) await owner.task(list.id);
    const { next } = granted(await owner.get(`${paths[0]}?limit=1&sort=title`));
    for (const path of [`${paths[0]}?sort=due`, `${paths[0]}?sort=-title`, `/v1/lists/${other.id}/tasks?sort=title`, '/v1/tasks?sort=title']) {
      refused(await owner.get(`${path}&cursor=${next}`), 400, 'malformed');
    }
    refused(await owner.get(`${paths[0]}?sort=title&cursor=${next.slice(0, -2)}AA`), 400, 'malformed');
    granted(await owner.get(`${paths[0]}?sort=title&cursor=${next}`));
  });
});
