// SPDX-License-Identifier: Apache-2.0
// Lists, who their members are and what each may do, and a list's events as they are read over HTTP.
import { describe, it, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { Bench } from '../lib/program.mjs';
import { Client, uuid } from '../lib/client.mjs';
import { granted, refused } from '../lib/expect.mjs';
import { readAll } from '../lib/pages.mjs';

describe('lists', { timeout: 600_000 }, () => {
  let bench;
  let url;
  let owner;
  let editor;
  let viewer;
  let stranger;

  const add = (client, list, who, role) => client.post(`/v1/lists/${list.id}/members`, { email: who.email, role });
  const members = async (list) => granted(await owner.get(`/v1/lists/${list.id}/members`)).items;
  const roleOf = async (list, who) => (await members(list)).find((member) => member.account === who.account)?.role;

  // A list of the owner's with an editor and a viewer.
  async function shared() {
    const list = await owner.list('Shared');
    granted(await add(owner, list, editor, 'editor'), 201);
    granted(await add(owner, list, viewer, 'viewer'), 201);
    return list;
  }

  before(async () => {
    bench = await Bench.start();
    url = bench.taskwire.url;
    [owner, editor, viewer, stranger] = await Promise.all(['Olga', 'Eve', 'Vic', 'Sam'].map((name) => Client.register(url, { name })));
  });
  after(() => bench?.stop());

  // --- lists ---

  it('a new list belongs to who made it, is empty and can be read at its Location', async () => {
    const answer = await owner.post('/v1/lists', { title: 'Groceries' });
    const list = granted(answer, 201);
    const { created_at: createdAt, updated_at: updatedAt, id, ...rest } = list;
    assert.deepEqual(rest, { title: 'Groceries', rev: 1, head: 1, role: 'owner', open: 0, archived: false, created_by: owner.account });
    assert.equal(createdAt, updatedAt);
    assert.equal(answer.headers.get('location'), `/v1/lists/${id}`);
    const read = await owner.get(answer.headers.get('location'));
    assert.deepEqual(granted(read), list);
    assert.equal(read.headers.get('etag'), answer.headers.get('etag'));
    assert.deepEqual(granted(await owner.get(`/v1/lists/${id}/tasks`)), { items: [], next: null });
  });

  it('a client may choose the id of a list, but none that is taken', async () => {
    const id = uuid();
    assert.equal(granted(await owner.post('/v1/lists', { id, title: 'Chosen' }), 201).id, id);
    refused(await owner.post('/v1/lists', { id, title: 'Chosen' }), 409, 'exists');
    refused(await stranger.post('/v1/lists', { id, title: 'Chosen' }), 409, 'exists');
    refused(await owner.post('/v1/lists', { id: owner.account, title: 'Chosen' }), 409, 'exists');
    refused(await owner.post('/v1/lists', { id: 'nonsense', title: 'Chosen' }), 422, 'invalid', ['/id']);
    refused(await owner.post('/v1/lists', { id: null, title: 'Chosen' }), 422, 'invalid', ['/id']);
  });

  it('a title has 1 to 500 characters on one line', async () => {
    for (const title of ['x', '🛒'.repeat(500), 'Ünïcödé']) {
      assert.equal(granted(await owner.post('/v1/lists', { title }), 201).title, title);
    }
    for (const title of ['', '🛒'.repeat(501), 'two\nlines', 'a\u0000b', 7, null, ['x'], undefined]) {
      refused(await owner.post('/v1/lists', { title }), 422, 'invalid', ['/title']);
    }
  });

  it('head grows with every event, rev with the list itself, open with what is to be done', async () => {
    const list = await owner.list();
    const look = async () => {
      const { rev, head, open } = granted(await owner.get(`/v1/lists/${list.id}`));
      return { rev, head, open };
    };
    const one = await owner.task(list.id);
    await owner.task(list.id, { status: 'in_progress' });
    assert.deepEqual(await look(), { rev: 1, head: 3, open: 2 });
    granted(await owner.post(`/v1/tasks/${one.id}/complete`));
    assert.deepEqual(await look(), { rev: 1, head: 4, open: 1 });
    granted(await owner.post(`/v1/tasks/${one.id}/reopen`));
    granted(await owner.patch(`/v1/tasks/${one.id}`, { status: 'cancelled' }));
    assert.deepEqual(await look(), { rev: 1, head: 6, open: 1 });
    granted(await owner.post(`/v1/tasks/${one.id}/reopen`));
    granted(await owner.delete(`/v1/tasks/${one.id}`));
    assert.deepEqual(await look(), { rev: 1, head: 8, open: 1 });
  });

  it('my lists come page by page, each once, and nobody else sees them', async () => {
    const [me, other] = [await Client.register(url), await Client.register(url)];
    const mine = [];
    for (let i = 0; i < 7; i++) mine.push((await me.list(`list ${i}`)).id);
    for (const limit of [1, 3, 7, 500]) {
      assert.deepEqual((await readAll(me, '/v1/lists', { limit })).map((list) => list.id).sort(), [...mine].sort());
    }
    assert.deepEqual(granted(await other.get('/v1/lists')), { items: [], next: null });
  });

  // --- members ---

  it('a member is added by e-mail address, however it is written, and sees the list from then on', async () => {
    const list = await owner.list('For two');
    refused(await editor.get(`/v1/lists/${list.id}`), 404, 'not_found');
    const answer = await owner.post(`/v1/lists/${list.id}/members`, { email: editor.email.toUpperCase(), role: 'editor' });
    const member = granted(answer, 201);
    assert.deepEqual({ ...member, since: '' }, { account: editor.account, role: 'editor', name: 'Eve', email: editor.email, since: '' });
    assert.equal(answer.headers.get('location'), `/v1/lists/${list.id}/members/${editor.account}`);
    assert.equal(granted(await editor.get(`/v1/lists/${list.id}`)).role, 'editor');
    assert.ok(granted(await editor.get('/v1/lists?limit=500')).items.some((item) => item.id === list.id));
    const { items } = granted(await owner.get(`/v1/lists/${list.id}/events`));
    assert.deepEqual(items.map((event) => event.type), ['list.created', 'member.added']);
    assert.deepEqual(items[1].set, { account: editor.account, role: 'editor' });
    const joined = granted(await editor.get('/v1/me/events?limit=500')).items.at(-1);
    assert.equal(joined.type, 'list.joined');
    assert.equal(joined.set.list, list.id);
    assert.equal(joined.command, items[1].command, 'both are events of one command');
  });

  it('adding a member again changes the role; since when stays', async () => {
    const list = await shared();
    const [before] = (await members(list)).filter((member) => member.account === viewer.account);
    const after = granted(await add(owner, list, viewer, 'editor'), 201);
    assert.deepEqual(after, { ...before, role: 'editor' });
    granted(await viewer.post(`/v1/lists/${list.id}/tasks`, { title: 'now I may' }), 201);
    granted(await add(owner, list, viewer, 'editor'), 201);
    const { items } = granted(await owner.get(`/v1/lists/${list.id}/events`));
    assert.deepEqual(items.slice(3).map((event) => [event.type, event.set, event.was]), [
      ['member.changed', { account: viewer.account, role: 'editor' }, { role: 'viewer' }],
      ['task.created', items[4].set, {}],
      ['member.changed', {}, {}],
    ]);
  });

  it('a member that is wrong is refused with a pointer', async () => {
    const list = await owner.list();
    const post = (body) => owner.post(`/v1/lists/${list.id}/members`, body);
    refused(await post({ email: 'nobody@example.org', role: 'editor' }), 422, 'invalid', ['/email']);
    refused(await post({ email: editor.email, role: 'boss' }), 422, 'invalid', ['/role']);
    refused(await post({ email: editor.email }), 422, 'invalid', ['/role']);
    refused(await post({ role: 'editor' }), 422, 'invalid', ['/email']);
    refused(await post({ email: editor.email, role: 'editor', name: 'x' }), 422, 'invalid', ['/name']);
    assert.equal((await members(list)).length, 1);
  });

  it('a viewer reads, an editor also changes tasks, an owner also members', async () => {
    const list = await shared();
    const task = await owner.task(list.id);
    for (const who of [owner, editor, viewer]) {
      for (const path of ['', '/tasks', '/members', '/events']) granted(await who.get(`/v1/lists/${list.id}${path}`));
      granted(await who.get(`/v1/tasks/${task.id}`));
      granted(await who.get(`/v1/tasks/${task.id}/history`));
    }
    for (const attempt of [
      () => viewer.post(`/v1/lists/${list.id}/tasks`, { title: 'x' }),
      () => viewer.patch(`/v1/tasks/${task.id}`, { title: 'x' }),
      () => viewer.post(`/v1/tasks/${task.id}/complete`),
      () => viewer.post(`/v1/tasks/${task.id}/reopen`),
      () => viewer.delete(`/v1/tasks/${task.id}`),
      () => add(viewer, list, stranger, 'viewer'),
      () => add(editor, list, stranger, 'viewer'),
      () => add(editor, list, editor, 'owner'),
    ]) {
      refused(await attempt(), 403, 'forbidden');
    }
    granted(await editor.patch(`/v1/tasks/${task.id}`, { title: 'x' }));
    granted(await editor.post(`/v1/tasks/${task.id}/complete`));
    granted(await add(owner, list, editor, 'owner'), 201);
    granted(await add(editor, list, stranger, 'viewer'), 201);
  });

  it('who is no member may not learn from an address whether somebody has an account', async () => {
    const list = await shared();
    for (const email of [editor.email, 'nobody@example.org']) {
      refused(await editor.post(`/v1/lists/${list.id}/members`, { email, role: 'viewer' }), 403, 'forbidden');
      refused(await stranger.post(`/v1/lists/${list.id}/members`, { email, role: 'viewer' }), 404, 'not_found');
    }
  });

  it('a list keeps at least one owner', async () => {
    const list = await shared();
    refused(await add(owner, list, owner, 'editor'), 409, 'conflict');
    assert.equal(await roleOf(list, owner), 'owner');
    granted(await add(owner, list, editor, 'owner'), 201);
    granted(await add(owner, list, owner, 'viewer'), 201);
    refused(await add(owner, list, owner, 'owner'), 403, 'forbidden');
    refused(await add(editor, list, editor, 'viewer'), 409, 'conflict');
  });

  it('of two owners who give up at the same moment, one stays', async () => {
    const list = await owner.list();
    granted(await add(owner, list, editor, 'owner'), 201);
    const answers = await Promise.all([add(owner, list, owner, 'viewer'), add(editor, list, editor, 'viewer')]);
    assert.deepEqual(answers.map((answer) => answer.status).sort(), [201, 409]);
    assert.equal((await members(list)).filter((member) => member.role === 'owner').length, 1);
  });

  it('members come page by page, each once; a cursor holds for its list only', async () => {
    const list = await shared();
    const all = (await members(list)).map((member) => member.account);
    assert.deepEqual([...all].sort(), [owner, editor, viewer].map((who) => who.account).sort());
    assert.deepEqual((await readAll(owner, `/v1/lists/${list.id}/members`, { limit: 1 })).map((member) => member.account), all);
    const { next } = granted(await owner.get(`/v1/lists/${list.id}/members?limit=1`));
    const other = await shared();
    refused(await owner.get(`/v1/lists/${other.id}/members?limit=1&cursor=${next}`), 400, 'malformed');
  });

  it('to a stranger a list is the same as one that does not exist', async () => {
    const list = await shared();
    const task = await owner.task(list.id);
    const compare = async (request) => {
      const [real, unreal] = [await request(list.id, task.id), await request(uuid(), uuid())];
      const [a, b] = [real, unreal].map((answer) => refused(answer, 404, 'not_found'));
      assert.deepEqual({ ...a, instance: '' }, { ...b, instance: '' });
    };
    for (const path of ['', '/tasks', '/members', '/events', '/members?limit=1']) {
      await compare((id) => stranger.get(`/v1/lists/${id}${path}`));
    }
    await compare((id) => stranger.post(`/v1/lists/${id}/tasks`, { title: 'x' }));
    await compare((id) => stranger.post(`/v1/lists/${id}/tasks`, { nonsense: 'x' }));
    await compare((id) => stranger.post(`/v1/lists/${id}/members`, { email: stranger.email, role: 'owner' }));
    for (const path of ['', '/history']) await compare((_, id) => stranger.get(`/v1/tasks/${id}${path}`));
    for (const path of ['/complete', '/reopen']) await compare((_, id) => stranger.post(`/v1/tasks/${id}${path}`));
    await compare((_, id) => stranger.patch(`/v1/tasks/${id}`, { title: 'x' }));
    await compare((_, id) => stranger.patch(`/v1/tasks/${id}`, { title: 'x' }, { 'If-Match': '"no"' }));
    await compare((_, id) => stranger.delete(`/v1/tasks/${id}`));
    assert.deepEqual(granted(await stranger.get(`/v1/tasks?list=${list.id}`)).items, []);
  });

  // --- events over HTTP ---

  it('events come in order and without a gap, from any revision on, page by page', async () => {
    const list = await owner.list();
    for (let i = 0; i < 6; i++) await owner.task(list.id, { title: `task ${i}` });
    const path = `/v1/lists/${list.id}/events`;
    const { epoch, head, items, next } = granted(await owner.get(path));
    assert.equal(head, 7);
    assert.equal(next, null);
    assert.deepEqual(items.map((event) => event.rev), [1, 2, 3, 4, 5, 6, 7]);
    for (const event of items) {
      assert.equal(event.stream, list.id);
      assert.equal(event.epoch, epoch);
      assert.equal(event.by, owner.account);
    }
    assert.deepEqual(await readAll(owner, path, { limit: 2 }), items);
    assert.deepEqual(await readAll(owner, path, { limit: 2, after: 3, epoch }), items.slice(3));
    assert.deepEqual(granted(await owner.get(`${path}?after=7`)).items, []);
    refused(await owner.get(`${path}?after=8`), 410, 'resync_required');
    refused(await owner.get(`${path}?after=3&epoch=0123456789abcdef`), 410, 'resync_required');
    for (const query of ['after=-1', 'after=x', 'after=', 'after=1&after=2', 'limit=0', 'limit=501', 'cursor=nonsense', 'nonsense=1']) {
      refused(await owner.get(`${path}?${query}`), 400, 'malformed');
    }
  });

  it("an event holds what changed, what was before, and the whole task after it", async () => {
    const list = await owner.list();
    const task = await owner.task(list.id, { title: 'Before', tags: ['a'] });
    const changed = granted(await owner.patch(`/v1/tasks/${task.id}`, { title: 'After', tags: { add: ['b'] } }));
    const event = granted(await owner.get(`/v1/lists/${list.id}/events?after=2`)).items[0];
    assert.deepEqual(event.set, { title: 'After', tags: ['a', 'b'] });
    assert.deepEqual(event.was, { title: 'Before', tags: ['a'] });
    assert.deepEqual(event.after, changed);
    assert.equal(event.task, task.id);
  });
});
