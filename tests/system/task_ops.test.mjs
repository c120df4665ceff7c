// SPDX-License-Identifier: Apache-2.0
// Subtasks, restoring, moving to another list, snoozing: what a command does to more than one task, and in more than one
// list.
import { describe, it, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { Bench } from '../lib/program.mjs';
import { Client, uuid } from '../lib/client.mjs';
import { granted, problem, refused } from '../lib/expect.mjs';
import { waitFor } from '../lib/wait.mjs';

describe('task ops', { timeout: 600_000 }, () => {
  let bench;
  let owner;
  let friend;

  const get = async (task, who = owner) => granted(await who.get(`/v1/tasks/${task.id}`));
  const eventsOf = async (list, from = 0, who = owner) =>
    granted(await who.get(`/v1/lists/${list.id}/events?limit=500&after=${from}`)).items;
  const head = async (list) => granted(await owner.get(`/v1/lists/${list.id}`)).head;
  const open = async (list) => granted(await owner.get(`/v1/lists/${list.id}`)).open;
  const post = async (task, what, body, headers) => owner.post(`/v1/tasks/${task.id}/${what}`, body, headers);
  const under = (list, parent, fields = {}) => owner.task(list.id, { parent: parent.id, ...fields });
  const share = async (list, role = 'editor') =>
    granted(await owner.post(`/v1/lists/${list.id}/members`, { email: friend.email, role }), 201);

  // Sends commands in one go, so that they mostly meet in one batch; answers their results in order.
  async function together(socket, commands) {
    const ids = commands.map((command) => command.id ?? uuid());
    for (const [i, command] of commands.entries()) socket.send({ op: 'command', command: { id: ids[i], ...command } });
    return Promise.all(ids.map((id) => socket.find((m) => m.op === 'result' && m.id === id, `a result of ${id}`)));
  }

  before(async () => {
    bench = await Bench.start();
    owner = await Client.register(bench.taskwire.url, { time_zone: 'Europe/Zurich' });
    friend = await Client.register(bench.taskwire.url);
  });
  after(() => bench?.stop());

  // --- subtasks ---

  it('a deleted task takes its subtasks along and brings them back, each in one go', async () => {
    const list = await owner.list();
    const top = await owner.task(list.id);
    const child = await under(list, top);
    const grandchild = await under(list, child, { title: 'Deep' });
    const gone = await under(list, top);
    granted(await owner.delete(`/v1/tasks/${gone.id}`));
    const from = await head(list);
    const key = { 'Idempotency-Key': uuid() };
    const first = await owner.delete(`/v1/tasks/${top.id}`, key);
    assert.equal(granted(first).id, top.id);
    const deleted = await eventsOf(list, from);
    assert.deepEqual(deleted.map((event) => [event.type, event.task, event.more]), [
      ['task.deleted', grandchild.id, true], ['task.deleted', child.id, true], ['task.deleted', top.id, undefined]]);
    for (const task of [top, child, grandchild]) refused(await owner.get(`/v1/tasks/${task.id}`), 404, 'not_found');
    assert.equal(await open(list), 0);
    const again = await owner.delete(`/v1/tasks/${top.id}`, key);
    assert.equal(again.headers.get('idempotent-replay'), 'true');
    assert.equal(again.headers.get('command-rev'), first.headers.get('command-rev'));
    assert.deepEqual(granted(again), granted(first));
    refused(await post(child, 'restore'), 409, 'conflict');
    const back = granted(await post(top, 'restore', {}));
    assert.deepEqual({ ...back, rev: 0, updated_at: '' }, { ...top, rev: 0, updated_at: '' });
    const restored = (await eventsOf(list, from + 3)).map((event) => event.type);
    assert.deepEqual(restored, ['task.restored', 'task.restored', 'task.restored']);
    assert.equal((await get(grandchild)).title, 'Deep');
    refused(await owner.get(`/v1/tasks/${gone.id}`), 404, 'not_found');
    assert.equal(await open(list), 3);
    granted(await post(gone, 'restore'));
    assert.equal((await get(gone)).parent, top.id);
  });

  it('a parent is a task of the same list, above which there is no way back', async () => {
    const list = await owner.list();
    const other = await owner.list();
    const [a, b, elsewhere] = [await owner.task(list.id), await owner.task(list.id), await owner.task(other.id)];
    granted(await owner.patch(`/v1/tasks/${b.id}`, { parent: a.id }));
    refused(await owner.patch(`/v1/tasks/${a.id}`, { parent: b.id }), 422, 'invalid', ['/parent']);
    refused(await owner.patch(`/v1/tasks/${a.id}`, { parent: elsewhere.id }), 422, 'invalid', ['/parent']);
    refused(await owner.post(`/v1/lists/${list.id}/tasks`, { title: 'x', parent: uuid() }), 422, 'invalid', ['/parent']);
    let last = b;
    for (let level = 3; level <= 8; level++) last = await under(list, last);
    refused(await owner.post(`/v1/lists/${list.id}/tasks`, { title: 'x', parent: last.id }), 422, 'invalid', ['/parent']);
    granted(await owner.patch(`/v1/tasks/${b.id}`, { parent: null }));
    granted(await owner.patch(`/v1/tasks/${a.id}`, { parent: b.id }));
  });

  it('what commands of one batch build up goes and comes as if they had come one by one', async () => {
    const list = await owner.list();
    const top = await owner.task(list.id);
    const branch = await owner.task(list.id);
    const leaf = await under(list, branch);
    const socket = await owner.socket();
    const fresh = uuid();
    const results = await together(socket, [
      { op: 'task.create', list: list.id, task: fresh, data: { title: 'x', parent: top.id } },
      { op: 'task.patch', task: branch.id, data: { parent: fresh } },
      { op: 'task.delete', task: top.id },
      { op: 'task.patch', task: leaf.id, data: { title: 'late' } },
      { op: 'task.restore', task: top.id },
      { op: 'task.patch', task: leaf.id, data: { title: 'in time' } },
    ]);
    assert.deepEqual(results.map((result) => result.problem?.code ?? 'ok'), ['ok', 'ok', 'ok', 'not_found', 'ok', 'ok']);
    assert.equal((await get(leaf)).title, 'in time');
    assert.equal((await get(branch)).parent, fresh);
    assert.equal(await open(list), 4);
    await socket.close();
  });

  it('a hundred subtasks go in one transaction, their events in one piece', async () => {
    const list = await owner.list();
    const top = await owner.task(list.id);
    const socket = await owner.socket();
    await together(socket, Array.from({ length: 100 }, () =>
      ({ op: 'task.create', list: list.id, data: { title: 'x', parent: top.id } })));
    const from = await head(list);
    granted(await owner.delete(`/v1/tasks/${top.id}`));
    const events = await eventsOf(list, from);
    assert.equal(events.length, 101);
    assert.deepEqual(events.map((event) => event.more === true), events.map((_, i) => i < 100));
    assert.equal(new Set(events.map((event) => event.at)).size, 1);
    granted(await post(top, 'restore'));
    assert.equal(await open(list), 101);
    await socket.close();
  });

  it('many trees at once are all deleted, whatever fits into a batch', async () => {
    const list = await owner.list();
    const socket = await owner.socket();
    const notes = 'n'.repeat(60_000);
    const tops = [];
    for (let i = 0; i < 12; i++) tops.push(await owner.task(list.id));
    for (const top of tops) {
      const made = await together(socket, Array.from({ length: 40 }, () =>
        ({ op: 'task.create', list: list.id, data: { title: 'x', notes, parent: top.id } })));
      assert.ok(made.every((result) => result.ok), JSON.stringify(made.find((result) => !result.ok)));
    }
    const results = await together(socket, tops.map((top) => ({ op: 'task.delete', task: top.id })));
    assert.ok(results.every((result) => result.ok), JSON.stringify(results.find((result) => !result.ok)));
    assert.equal(await open(list), 0);
    await socket.close();
  });

  // --- moving ---

  it('a moved task is in the other list with its subtasks, and each list is told its part', async () => {
    const [from, to] = [await owner.list('from'), await owner.list('to')];
    await share(from, 'viewer');
    const above = await owner.task(from.id);
    const task = await under(from, above, { title: 'Moves', due: '2030-01-07', tags: ['a'], assignee: friend.account,
      reminders: [{ before: 'P1D', for: 'assignee' }] });
    const child = await under(from, task);
    const there = await owner.task(to.id);
    const [fromHead, toHead] = [await head(from), await head(to)];
    const key = { 'Idempotency-Key': uuid() };
    const answer = await post(task, 'move', { list: to.id }, key);
    const moved = granted(answer);
    assert.equal(answer.headers.get('command-rev'), String(toHead + 2));
    assert.deepEqual([moved.list, moved.parent, moved.assignee, moved.rev], [to.id, null, null, toHead + 2]);
    assert.ok(moved.position > there.position);
    assert.equal((await get(child)).list, to.id);
    assert.equal((await get(child)).parent, task.id);
    const out = await eventsOf(from, fromHead, friend);
    assert.deepEqual(out.map((event) => [event.type, event.task, event.set, event.was, event.more]), [
      ['task.moved_out', child.id, {}, {}, true], ['task.moved_out', task.id, {}, {}, undefined]]);
    assert.ok(!JSON.stringify(out).includes(to.id), 'it does not say where to');
    const into = await eventsOf(to, toHead);
    assert.deepEqual(into.map((event) => [event.type, event.task, event.more]), [
      ['task.moved_in', child.id, true], ['task.moved_in', task.id, undefined]]);
    assert.ok(!JSON.stringify(into).includes(from.id), 'nor the other where from');
    assert.deepEqual({ ...into[1].set, rev: into[1].rev, updated_at: into[1].at }, moved);
    assert.deepEqual([await open(from), await open(to)], [1, 3]);
    refused(await friend.get(`/v1/tasks/${task.id}`), 404, 'not_found');
    const history = granted(await friend.get(`/v1/tasks/${task.id}/history`)).items;
    assert.deepEqual(history.map((event) => event.type), ['task.created', 'task.moved_out']);
    const again = await post(task, 'move', { list: to.id }, key);
    assert.equal(again.headers.get('idempotent-replay'), 'true');
    assert.equal(again.headers.get('command-rev'), answer.headers.get('command-rev'));
    assert.deepEqual(granted(again), moved);
    const whole = granted(await owner.get(`/v1/tasks/${task.id}/history`)).items;
    assert.deepEqual(whole.map((event) => event.type), ['task.created', 'task.moved_out', 'task.moved_in']);
  });

  it('commands that name no list find the task where it is now', async () => {
    const [a, b, c] = [await owner.list(), await owner.list(), await owner.list()];
    const task = await owner.task(a.id);
    const socket = await owner.socket();
    const first = uuid();
    const results = await together(socket, [
      { op: 'task.patch', id: first, task: task.id, list: a.id, data: { title: 'one' } },
      { op: 'task.move', task: task.id, data: { list: b.id } },
      { op: 'task.patch', task: task.id, data: { title: 'two' } },
      { op: 'task.patch', task: task.id, list: a.id, data: { title: 'no' } },
      { op: 'task.move', task: task.id, data: { list: c.id } },
      { op: 'task.patch', task: task.id, data: { priority: 'high' } },
    ]);
    assert.deepEqual(results.map((result) => result.problem?.code ?? result.stream),
      [a.id, b.id, b.id, 'not_found', c.id, c.id]);
    const now = await get(task);
    assert.deepEqual([now.list, now.title, now.priority], [c.id, 'two', 'high']);
    const [repeat] = await together(await owner.socket(),
      [{ op: 'task.patch', id: first, task: task.id, list: a.id, data: { title: 'one' } }]);
    assert.deepEqual([repeat.ok, repeat.stream, repeat.rev, repeat.task], [true, a.id, results[0].rev, now]);
    await socket.close();
  });

  it('who may not write in both lists moves nothing', async () => {
    const [from, to] = [await owner.list(), await owner.list()];
    await share(from);
    const task = await owner.task(from.id);
    refused(await friend.post(`/v1/tasks/${task.id}/move`, { list: to.id }), 404, 'not_found');
    await share(to, 'viewer');
    refused(await friend.post(`/v1/tasks/${task.id}/move`, { list: to.id }), 403, 'forbidden');
    const { token } = granted(await owner.post('/v1/tokens', { name: 'x', scopes: ['read', 'write'], lists: [from.id] }), 201);
    refused(await new Client(owner.url, token).post(`/v1/tasks/${task.id}/move`, { list: to.id }), 404, 'not_found');
    refused(await post(task, 'move', {}), 422, 'invalid', ['/list']);
    refused(await post(task, 'move', { list: to.id }, { 'If-Match': '"no"' }), 412, 'precondition_failed');
    const rev = await head(from);
    const stays = await post(task, 'move', { list: from.id });
    assert.deepEqual(granted(stays), task);
    assert.deepEqual((await eventsOf(from, rev)).map((event) => [event.type, event.set]), [['task.updated', {}]]);
  });

  it('the next occurrence is made where the task is by then', async () => {
    const [from, to] = [await owner.list(), await owner.list()];
    const socket = await owner.socket();
    for (let i = 0; i < 5; i++) {
      const task = await owner.task(from.id, { title: `r${i}`, due: '2030-01-07', recurrence: { rule: 'daily' } });
      const results = await together(socket, [{ op: 'task.complete', task: task.id }, { op: 'task.move', task: task.id, data: { list: to.id } }]);
      assert.ok(results.every((result) => result.ok), JSON.stringify(results));
      const next = await waitFor(async () => {
        const lists = await Promise.all([from, to].map(async (list) => granted(await owner.get(`/v1/lists/${list.id}/tasks`)).items));
        return lists.flat().find((found) => found.series === task.series);
      }, 'a successor');
      assert.equal(next.occurrence, 2);
    }
    await socket.close();
  });

  it('a closed occurrence that was deleted at once and restored has its successor', async () => {
    const list = await owner.list();
    const socket = await owner.socket();
    const task = await owner.task(list.id, { due: '2030-01-07', recurrence: { rule: 'daily' } });
    const results = await together(socket, [{ op: 'task.complete', task: task.id }, { op: 'task.delete', task: task.id }]);
    assert.ok(results.every((result) => result.ok), JSON.stringify(results));
    granted(await post(task, 'restore'));
    const found = async () => granted(await owner.get(`/v1/lists/${list.id}/tasks`)).items;
    await waitFor(async () => (await found()).length === 1, 'a successor');
    assert.equal((await found())[0].occurrence, 2);
    await socket.close();
  });

  it('a reminder goes with its task and fires once, for who is there', async () => {
    const [from, to] = [await owner.list(), await owner.list()];
    await share(from);
    const at = new Date(Date.now() + 1500).toISOString();
    const task = await owner.task(from.id, { reminders: [{ at }] });
    granted(await friend.patch(`/v1/tasks/${task.id}`, { reminders: [...task.reminders, { at, for: 'me' }] }));
    const moved = granted(await post(task, 'move', { list: to.id }));
    assert.deepEqual(moved.reminders.map((reminder) => reminder.for), [owner.account]);
    const due = (events) => events.filter((event) => event.type === 'reminder.due');
    await waitFor(async () => due(await eventsOf(to)).length > 0, 'it fires');
    const pending = `SELECT count(*) FROM reminder WHERE state = 0 AND task = '${task.id}'`;
    await waitFor(async () => (await bench.cluster.value(pending)) === '0', 'none is pending');
    assert.equal(due(await eventsOf(to)).length, 1);
    assert.equal(due(await eventsOf(from)).length, 0);
  });

  it('those who follow both lists see the task leave the one and come into the other', async () => {
    const [from, to] = [await owner.list(), await owner.list()];
    const task = await owner.task(from.id);
    const socket = await owner.socket();
    await socket.subscribe(from.id);
    await socket.subscribe(to.id);
    granted(await post(task, 'move', { list: to.id }));
    const out = await socket.find((m) => m.type === 'task.moved_out', 'moved_out');
    const into = await socket.find((m) => m.type === 'task.moved_in', 'moved_in');
    assert.deepEqual([out.stream, out.task, out.set], [from.id, task.id, {}]);
    assert.deepEqual({ ...into.set, rev: into.rev, updated_at: into.at }, await get(task));
    await socket.close();
  });

  // --- snoozing ---

  it('a snoozed task reminds once more, and the due date stays', async () => {
    const list = await owner.list();
    const task = await owner.task(list.id, { due: '2030-01-07' });
    const later = granted(await post(task, 'snooze', { for: 'PT2H' }));
    const snoozed = granted(await post(task, 'snooze', { until: new Date(Date.now() + 1200).toISOString() }));
    assert.equal(snoozed.reminders.length, 1);
    assert.equal(snoozed.reminders[0].snooze, true);
    assert.notEqual(snoozed.reminders[0].id, later.reminders[0].id);
    assert.deepEqual([snoozed.due, snoozed.due_at], [task.due, task.due_at]);
    const fired = await waitFor(async () => (await eventsOf(list)).find((event) => event.type === 'reminder.due'), 'it fires');
    assert.equal(fired.reminder.id, snoozed.reminders[0].id);
    assert.equal(fired.reminder.for, owner.account);
    assert.deepEqual((await eventsOf(list, task.rev)).map((event) => event.type).slice(0, 2), ['task.snoozed', 'task.snoozed']);
    refused(await post(task, 'snooze', { for: 'PT0S' }), 422, 'invalid', ['/for']);
    refused(await post(task, 'snooze', {}), 422, 'invalid', ['/until']);
    granted(await post(task, 'complete'));
    refused(await post(task, 'snooze', { for: 'PT1H' }), 409, 'conflict');
  });

  it('a reminder that came due while its task was deleted stays silent', async () => {
    const list = await owner.list();
    const at = Date.now() + 800;
    const task = await owner.task(list.id, { reminders: [{ at: new Date(at).toISOString() }, { at: '2030-01-01T08:00:00Z' }] });
    granted(await owner.delete(`/v1/tasks/${task.id}`));
    await waitFor(() => Date.now() > at + 300, 'that instant is past');
    const restored = granted(await post(task, 'restore'));
    assert.deepEqual(restored.reminders, task.reminders);
    const states = `SELECT string_agg(state::text, ',' ORDER BY fire_at) FROM reminder WHERE task = '${task.id}'`;
    await waitFor(async () => (await bench.cluster.value(states)) === '2,0', 'only the later one is pending');
    assert.equal((await eventsOf(list)).filter((event) => event.type === 'reminder.due').length, 0);
  });

  it('a problem over the socket is the one of HTTP', async () => {
    const socket = await owner.socket();
    const [unknown, both] = await together(socket, [
      { op: 'task.restore', task: uuid() }, { op: 'task.snooze', data: { for: 'PT1H' } }].map((c) => ({ id: uuid(), ...c })));
    problem(unknown.problem, 404, 'not_found');
    problem(both.problem, 422, 'invalid', ['/command/task']);
    await socket.close();
  });
});
