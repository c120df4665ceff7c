// SPDX-License-Identifier: Apache-2.0
// Lists that change, disappear and come back, members that change and go, and that access ends at once: at every gateway
// and in every process.
import { describe, it, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { Bench } from '../lib/program.mjs';
import { Client, uuid } from '../lib/client.mjs';
import { granted, refused } from '../lib/expect.mjs';
import { readAll } from '../lib/pages.mjs';
import { waitFor } from '../lib/wait.mjs';

describe('sharing', { timeout: 600_000 }, () => {
  let bench;
  let first; // two gateways
  let second; // another process on the same database
  let owner;
  let editor;
  let viewer;
  let stranger;

  const path = (list, rest = '') => `/v1/lists/${list.id}${rest}`;
  const add = (list, who, role) => owner.post(path(list, '/members'), { email: who.email, role });
  const memberPath = (list, who) => path(list, `/members/${who.account}`);
  const eventsOf = async (list, after = 0) => granted(await owner.get(path(list, `/events?after=${after}`))).items;
  const newest = async (who) => granted(await who.get('/v1/me/events?limit=500')).items.at(-1);

  async function shared() {
    const list = await owner.list('Shared');
    granted(await add(list, editor, 'editor'), 201);
    granted(await add(list, viewer, 'viewer'), 201);
    return list;
  }

  // Sockets of one account at both gateways and at the other process, all subscribed to the list.
  async function watchers(who, list) {
    const elsewhere = Object.assign(new Client(second.url, who.token), { account: who.account });
    const sockets = await Promise.all([who.socket(), who.socket(), who.socket(), elsewhere.socket()]);
    for (const socket of sockets) assert.equal((await socket.subscribe(list.id)).op, 'snapshot');
    return sockets;
  }

  const isRemoved = (list) => (message) => message.op === 'removed' && message.stream === list.id;

  // All of them are told that access ended, and hear nothing of the list behind that.
  async function ends(sockets, list, lastRev) {
    for (const socket of sockets) await socket.find(isRemoved(list), 'removed');
    for (const socket of sockets) {
      assert.ok(socket.events(list.id).every((event) => event.rev < lastRev), 'nothing of what came after');
      assert.equal((await socket.subscribe(list.id)).problem.code, 'not_found');
    }
  }

  before(async () => {
    bench = await Bench.start({ settings: { GATEWAYS: 2 } });
    first = bench.taskwire;
    second = await bench.program().start();
    [owner, editor, viewer, stranger] = await Promise.all(
      ['Olga', 'Eve', 'Vic', 'Sam'].map((name) => Client.register(first.url, { name })));
  });
  after(() => bench?.stop());

  // --- a list that changes ---

  it('an owner renames and archives a list; who did not see it as it is may not', async () => {
    const list = await shared();
    const before = await owner.get(path(list));
    const answer = await owner.patch(path(list), { title: 'Garden' }, { 'If-Match': before.headers.get('etag') });
    const changed = granted(answer);
    assert.deepEqual({ ...changed, updated_at: '' }, { ...granted(before), title: 'Garden', rev: 4, head: 4, updated_at: '' });
    assert.deepEqual(granted(await owner.get(path(list))), changed);
    const late = refused(await owner.patch(path(list), { title: 'Late' }, { 'If-Match': before.headers.get('etag') }), 412, 'precondition_failed');
    assert.deepEqual(late.current, changed);
    await owner.task(list.id);
    granted(await owner.patch(path(list), { archived: true }, { 'If-Match': answer.headers.get('etag') }), 200);
    refused(await owner.post(path(list, '/tasks'), { title: 'x' }), 409, 'conflict');
    assert.equal(granted(await viewer.get(path(list))).archived, true);
    granted(await owner.patch(path(list), { archived: false }));
    await owner.task(list.id);
    assert.deepEqual((await eventsOf(list, 3)).filter((event) => event.type === 'list.updated').map(({ set, was }) => [set, was]), [
      [{ title: 'Garden' }, { title: 'Shared' }],
      [{ archived: true }, { archived: false }],
      [{ archived: false }, { archived: true }],
    ]);
  });

  it('a patch of a list that is wrong is refused with a pointer, and by whom is no owner', async () => {
    const list = await shared();
    for (const [body, pointer] of [[{ title: '' }, '/title'], [{ title: null }, '/title'], [{ archived: 1 }, '/archived'],
      [{ archived: null }, '/archived'], [{ rev: 3 }, '/rev'], [{ role: 'owner' }, '/role']]) {
      refused(await owner.patch(path(list), body), 422, 'invalid', [pointer]);
    }
    refused(await editor.patch(path(list), { title: 'x' }), 403, 'forbidden');
    refused(await viewer.patch(path(list), { title: 'x' }), 403, 'forbidden');
    refused(await stranger.patch(path(list), { title: 'x' }), 404, 'not_found');
    refused(await owner.patch(path({ id: uuid() }), { title: 'x' }), 404, 'not_found');
  });

  // --- a list that disappears ---

  it('a deleted list is gone for all its members, and its owner brings it back with all that was in it', async () => {
    const list = await shared();
    const task = await editor.task(list.id, { title: 'Kept' });
    const other = await owner.list('Other');
    const read = async (who) => (await readAll(who, '/v1/lists', { limit: 500 })).map((item) => item.id);
    const stale = await owner.get(path(list));
    granted(await owner.patch(path(list), { title: 'Renamed' }));
    refused(await owner.delete(path(list), { 'If-Match': stale.headers.get('etag') }), 412, 'precondition_failed');
    for (const who of [editor, viewer]) refused(await who.delete(path(list)), 403, 'forbidden');
    refused(await stranger.delete(path(list)), 404, 'not_found');
    const key = uuid();
    const gone = await owner.delete(path(list), { 'Idempotency-Key': key });
    assert.equal(gone.status, 204, gone.text);
    const again = await owner.delete(path(list), { 'Idempotency-Key': key });
    assert.equal(again.status, 204, again.text);
    assert.equal(again.headers.get('idempotent-replay'), 'true');
    for (const who of [owner, editor, viewer]) {
      for (const rest of ['', '/tasks', '/members', '/events']) refused(await who.get(path(list, rest)), 404, 'not_found');
      refused(await who.get(`/v1/tasks/${task.id}`), 404, 'not_found');
      refused(await who.patch(`/v1/tasks/${task.id}`, { title: 'x' }), 404, 'not_found');
      refused(await who.post(path(list, '/tasks'), { title: 'x' }), 404, 'not_found');
      refused(await who.patch(path(list), { title: 'x' }), 404, 'not_found');
      refused(await who.delete(path(list)), 404, 'not_found');
      assert.ok(!(await read(who)).includes(list.id));
      const left = await newest(who);
      assert.deepEqual([left.type, left.set], ['list.left', { list: list.id }]);
    }
    const deleted = await readAll(owner, '/v1/lists', { limit: 1, deleted: true });
    assert.ok(deleted.some((item) => item.id === list.id && typeof item.deleted_at === 'string'));
    assert.ok(!deleted.some((item) => item.id === other.id));
    assert.deepEqual(granted(await editor.get('/v1/lists?deleted=true')).items, []);
    refused(await owner.get('/v1/lists?deleted=maybe'), 400, 'malformed');
    for (const who of [editor, viewer, stranger]) refused(await who.post(path(list, '/restore')), 404, 'not_found');
    const back = granted(await owner.post(path(list, '/restore')));
    assert.equal(back.title, 'Renamed');
    assert.equal(back.open, 1);
    refused(await owner.post(path(list, '/restore')), 409, 'conflict');
    granted(await editor.patch(`/v1/tasks/${task.id}`, { title: 'Still mine' }));
    assert.equal(granted(await viewer.get(path(list))).role, 'viewer');
    const joined = (await newest(viewer));
    assert.deepEqual([joined.type, joined.set], ['list.joined', { list: list.id, role: 'viewer', title: 'Renamed' }]);
    assert.deepEqual((await eventsOf(list, 4)).map((event) => event.type),
      ['list.updated', 'list.deleted', 'list.restored', 'task.updated']);
  });

  it('a list of many members is deleted and restored for all of them by one command', async () => {
    const list = await owner.list('Crowd');
    const crowd = await Promise.all(Array.from({ length: 24 }, () => Client.register(first.url)));
    for (const who of crowd) granted(await add(list, who, 'editor'), 201);
    assert.equal((await owner.delete(path(list))).status, 204);
    granted(await owner.post(path(list, '/restore')));
    const commands = new Set();
    for (const who of crowd) {
      const events = granted(await who.get('/v1/me/events')).items.slice(-3);
      assert.deepEqual(events.map((event) => event.type), ['list.joined', 'list.left', 'list.joined']);
      commands.add(events[1].command).add(events[2].command);
    }
    assert.equal(commands.size, 2);
  });

  it('commands behind one that had to wait for more locks are applied in their order', async () => {
    const list = await shared();
    const socket = await owner.socket();
    const send = (command) => socket.send({ op: 'command', command: { id: uuid(), list: list.id, ...command }, ref: command.op + (command.data?.title ?? '') });
    send({ op: 'list.delete' });
    send({ op: 'task.create', data: { title: 'too late' } });
    send({ op: 'list.restore' });
    send({ op: 'list.patch', data: { title: 'Back' } });
    const answer = async (ref) => socket.find((message) => message.ref === ref, ref);
    assert.equal((await answer('list.delete')).ok, true);
    assert.equal((await answer('task.createtoo late')).problem.code, 'not_found');
    assert.equal((await answer('list.restore')).ok, true);
    assert.equal((await answer('list.patchBack')).ok, true);
    assert.deepEqual((await eventsOf(list, 3)).map((event) => event.type), ['list.deleted', 'list.restored', 'list.updated']);
    await socket.close();
  });

  // --- members that change and go ---

  it('an owner gives members other roles; who is no member is not added so', async () => {
    const list = await shared();
    const changed = granted(await owner.patch(memberPath(list, viewer), { role: 'editor' }));
    assert.equal(changed.role, 'editor');
    assert.equal(changed.account, viewer.account);
    granted(await viewer.post(path(list, '/tasks'), { title: 'now I may' }), 201);
    granted(await owner.patch(memberPath(list, viewer), { role: 'viewer' }));
    refused(await viewer.post(path(list, '/tasks'), { title: 'no longer' }), 403, 'forbidden');
    refused(await owner.patch(memberPath(list, stranger), { role: 'viewer' }), 404, 'not_found');
    refused(await owner.patch(memberPath(list, { account: uuid() }), { role: 'viewer' }), 404, 'not_found');
    refused(await owner.patch(memberPath(list, viewer), { role: 'boss' }), 422, 'invalid', ['/role']);
    refused(await owner.patch(memberPath(list, viewer), {}), 422, 'invalid', ['/role']);
    refused(await owner.patch(memberPath(list, viewer), { role: 'viewer', email: 'x' }), 422, 'invalid', ['/email']);
    refused(await editor.patch(memberPath(list, editor), { role: 'owner' }), 403, 'forbidden');
    refused(await owner.patch(memberPath(list, owner), { role: 'editor' }), 409, 'conflict');
    refused(await stranger.patch(memberPath(list, viewer), { role: 'owner' }), 404, 'not_found');
  });

  it('an owner removes anyone, anyone leaves, and the last owner stays', async () => {
    const list = await shared();
    for (const who of [editor, viewer]) refused(await who.delete(memberPath(list, owner)), 403, 'forbidden');
    refused(await stranger.delete(memberPath(list, viewer)), 404, 'not_found');
    refused(await owner.delete(memberPath(list, stranger)), 404, 'not_found');
    refused(await owner.delete(memberPath(list, owner)), 409, 'conflict');
    assert.equal((await viewer.delete(memberPath(list, viewer))).status, 204);
    refused(await viewer.get(path(list)), 404, 'not_found');
    assert.equal((await owner.delete(memberPath(list, editor))).status, 204);
    refused(await editor.get(path(list)), 404, 'not_found');
    refused(await editor.post(path(list, '/tasks'), { title: 'x' }), 404, 'not_found');
    for (const who of [editor, viewer]) {
      const left = await newest(who);
      assert.deepEqual([left.type, left.set], ['list.left', { list: list.id }]);
    }
    const events = await eventsOf(list, 3);
    assert.deepEqual(events.map(({ type, set, was }) => [type, set, was]), [
      ['member.removed', { account: viewer.account }, { role: 'viewer' }],
      ['member.removed', { account: editor.account }, { role: 'editor' }],
    ]);
    granted(await add(list, editor, 'owner'), 201);
    assert.equal((await owner.delete(memberPath(list, owner))).status, 204);
    refused(await editor.delete(memberPath(list, editor)), 409, 'conflict');
  });

  it('the tasks of a removed member lose their assignee and his reminders, before he is gone', async () => {
    const list = await shared();
    const at = new Date(Date.now() + 2000).toISOString();
    const mine = await owner.task(list.id, { assignee: editor.account, reminders: [{ at, for: 'all' }] });
    const his = await editor.task(list.id, { due: '2030-01-01', reminders: [{ at, for: 'me' }, { before: 'P1D', for: 'assignee' }] });
    const done = await owner.task(list.id, { assignee: editor.account });
    granted(await owner.post(`/v1/tasks/${done.id}/complete`));
    const madeByHim = await editor.task(list.id, { title: `not ${editor.account}'s` });
    const gone = await owner.task(list.id, { assignee: editor.account });
    granted(await owner.delete(`/v1/tasks/${gone.id}`));
    const head = granted(await owner.get(path(list))).head;
    const key = uuid();
    const removal = await owner.delete(memberPath(list, editor), { 'Idempotency-Key': key });
    assert.equal(removal.status, 204, removal.text);
    const events = await eventsOf(list, head);
    const updates = events.slice(0, 3);
    assert.deepEqual(new Set(updates.map((event) => event.task)), new Set([mine.id, his.id, done.id]));
    for (const event of updates) assert.deepEqual([event.type, event.more, event.command], ['task.updated', true, key]);
    assert.deepEqual(updates.find((event) => event.task === mine.id).set, { assignee: null });
    assert.deepEqual(updates.find((event) => event.task === his.id).set.reminders.map((reminder) => reminder.for), ['assignee']);
    assert.deepEqual([events[3].type, events[3].more, events[3].set], ['member.removed', undefined, { account: editor.account }]);
    assert.equal(Number(removal.headers.get('command-rev')), events[3].rev);
    const again = await owner.delete(memberPath(list, editor), { 'Idempotency-Key': key });
    assert.deepEqual([again.status, again.headers.get('command-rev')], [204, removal.headers.get('command-rev')]);
    for (const event of updates) assert.equal(granted(await owner.get(`/v1/tasks/${event.task}`)).assignee, null);
    assert.equal(granted(await owner.get(`/v1/tasks/${madeByHim.id}`)).rev, madeByHim.rev);
    const fired = await waitFor(async () => (await eventsOf(list, head)).find((event) => event.type === 'reminder.due'), 'the reminder for all', 20_000);
    assert.equal(fired.task, mine.id);
    assert.ok(Date.now() >= Date.parse(at));
    const rows = await bench.cluster.query(`SELECT state FROM reminder WHERE task = '${his.id}' AND fire_at = '${at}'`);
    assert.deepEqual(rows, [['2']], 'his own reminder has ended');
  });

  // --- access that ends ---

  it('a removed member hears nothing of what comes after, at every gateway and in every process', async () => {
    const list = await shared();
    const sockets = await watchers(viewer, list);
    const others = await watchers(editor, list);
    assert.equal((await owner.delete(memberPath(list, viewer))).status, 204);
    const task = await owner.task(list.id, { title: 'secret' });
    await ends(sockets, list, task.rev - 1);
    for (const socket of others) await socket.find((message) => message.op === 'event' && message.rev === task.rev, 'the event');
    for (const socket of [...sockets, ...others]) await socket.close();
  });

  it('of a deleted list all hear that it is gone, and who comes back hears of it again', async () => {
    const list = await shared();
    const sockets = await watchers(viewer, list);
    sockets.push(...await watchers(owner, list));
    const account = await viewer.socket();
    assert.equal((await account.subscribe(viewer.account)).op, 'snapshot');
    assert.equal((await owner.delete(path(list))).status, 204);
    await ends(sockets, list, 4);
    await account.find((message) => message.type === 'list.left' && message.set.list === list.id, 'list.left');
    granted(await owner.post(path(list, '/restore')));
    await account.find((message) => message.type === 'list.joined' && message.set.list === list.id, 'list.joined');
    for (const socket of sockets) {
      assert.equal((await socket.subscribe(list.id)).op, 'snapshot');
      await socket.close();
    }
    await account.close();
  });

  it('who may only read from now on cannot write any more, through any process, and goes on hearing', async () => {
    const list = await shared();
    const elsewhere = new Client(second.url, editor.token);
    const sockets = await watchers(editor, list);
    granted(await elsewhere.post(path(list, '/tasks'), { title: 'may' }), 201);
    granted(await owner.patch(memberPath(list, editor), { role: 'viewer' }));
    for (const who of [editor, elsewhere]) refused(await who.post(path(list, '/tasks'), { title: 'x' }), 403, 'forbidden');
    for (const socket of sockets) {
      const ref = uuid();
      socket.send({ op: 'command', ref, command: { id: uuid(), op: 'task.create', list: list.id, data: { title: 'x' } } });
      assert.equal((await socket.find((message) => message.ref === ref, 'a result')).problem.code, 'forbidden');
    }
    const task = await owner.task(list.id);
    for (const socket of sockets) {
      await socket.find((message) => message.op === 'event' && message.rev === task.rev, 'the event');
      await socket.close();
    }
  });

  it('however many tasks name who is removed, in the end none does', { timeout: 120_000 }, async () => {
    const [head, leaver] = await Promise.all([Client.register(first.url), Client.register(first.url)]);
    const list = await head.list();
    granted(await head.post(`/v1/lists/${list.id}/members`, { email: leaver.email, role: 'editor' }), 201);
    const notes = 'x'.repeat(64 * 1024);
    for (let i = 0; i < 20; i++) { // more than the 16 MiB that one removal takes along
      const commands = Array.from({ length: 15 }, () => ({ id: uuid(), op: 'task.create', list: list.id, data: { title: 'T', notes, assignee: leaver.account } }));
      granted(await head.post('/v1/commands', { commands })).results.forEach((result) => assert.ok(result.ok));
    }
    assert.equal((await head.delete(`/v1/lists/${list.id}/members/${leaver.account}`)).status, 204);
    const left = async () => granted(await head.get(`/v1/lists/${list.id}/tasks?assignee=${leaver.account}&limit=1`)).items.length;
    await waitFor(async () => (await left()) === 0, 'all are released', 60_000);
    const later = await bench.cluster.value(`SELECT count(*) FROM event WHERE stream = '${list.id}' AND by NOT IN ('${head.account}', '${leaver.account}')`);
    assert.ok(Number(later) > 0, 'it was too much for one removal');
    const { body } = await head.get(`/v1/lists/${list.id}`);
    assert.equal(body.open, 300);
    assert.equal(body.head, 1 + 1 + 300 + 1 + 300, 'each once');
  });
});
