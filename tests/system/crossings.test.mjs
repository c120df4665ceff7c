// SPDX-License-Identifier: Apache-2.0
// Somebody who knows every id there is, but is a member of nothing, tries each place that takes an id: he reads nothing,
// changes nothing, and cannot even tell what is there from what is not.
import { describe, it, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { Bench } from '../lib/program.mjs';
import { Client, uuid } from '../lib/client.mjs';
import { granted, refused } from '../lib/expect.mjs';

describe('somebody who knows all ids', () => {
  let bench;
  let owner; // of a list with a task, a subtask and a reminder
  let list;
  let task;
  let child;
  let eve; // knows their ids
  let own; // her list
  let ownTask;

  before(async () => {
    bench = await Bench.start({ settings: { REGISTRATION: 'open', GATEWAYS: 2 } });
    owner = await Client.register(bench.taskwire.url);
    list = await owner.list('Secret');
    task = await owner.task(list.id, { title: 'Secret task', reminders: [{ before: 'PT1H', for: 'all' }], due: '2030-01-01T09:00' });
    child = await owner.task(list.id, { title: 'Secret subtask', parent: task.id });
    eve = await Client.register(bench.taskwire.url);
    own = await eve.list('Own');
    ownTask = await eve.task(own.id);
  });
  after(() => bench?.stop());

  const read = async (client) => JSON.stringify([
    granted(await client.get(`/v1/lists/${list.id}`)), granted(await client.get(`/v1/lists/${list.id}/tasks`)),
    granted(await client.get(`/v1/lists/${list.id}/members`)),
  ]);

  // Does what may be tried, and holds both lists against what they were.
  async function unchanged(attempt) {
    const was = await read(owner);
    await attempt();
    assert.equal(await read(owner), was);
  }

  // The same refusal for what is there and for what is not, but for the ids that it repeats.
  async function sameFor(real, made, ask) {
    const [first, second] = [await ask(real), await ask(made)];
    assert.equal(first.status, second.status, `${first.text} ${second.text}`);
    assert.ok(first.status >= 400, first.text);
    const plain = (text, id) => text.replaceAll(id, 'ID').replace(/"instance":"[^"]*"/, ''); // names the request
    assert.equal(plain(first.text, real), plain(second.text, made));
    assert.doesNotMatch(first.text, /Secret/);
    return first;
  }

  it('each field of a task that takes an id refuses those of another list', () => unchanged(async () => {
    for (const [field, real, pointer] of [['parent', task.id, '/parent'], ['assignee', owner.account, '/assignee']]) {
      const create = await sameFor(real, uuid(), (id) => eve.post(`/v1/lists/${own.id}/tasks`, { title: 'x', [field]: id }));
      refused(create, 422, 'invalid', [pointer]);
      const patch = await sameFor(real, uuid(), (id) => eve.patch(`/v1/tasks/${ownTask.id}`, { [field]: id }));
      refused(patch, 422, 'invalid', [pointer]);
    }
    const reminder = await sameFor(owner.account, uuid(), (id) => eve.patch(`/v1/tasks/${ownTask.id}`,
      { due: '2030-01-01T09:00', reminders: [{ before: 'PT1H', for: id }] }));
    refused(reminder, 422, 'invalid');
    // Not even the owner herself hangs a task under one of another list.
    const other = await owner.list();
    refused(await owner.post(`/v1/lists/${other.id}/tasks`, { title: 'x', parent: task.id }), 422, 'invalid', ['/parent']);
  }));

  it('an id that is somebody else\'s is taken, and says nothing of what it is', () => unchanged(async () => {
    for (const id of [task.id, child.id]) {
      const answer = await eve.post(`/v1/lists/${own.id}/tasks`, { id, title: 'Mine now' });
      assert.ok([404, 409].includes(answer.status), answer.text);
      assert.doesNotMatch(answer.text, /Secret/);
    }
    for (const id of [list.id, owner.account]) {
      const answer = await eve.post('/v1/lists', { id, title: 'Mine now' });
      assert.ok([404, 409].includes(answer.status), answer.text);
      assert.doesNotMatch(answer.text, /Secret/);
    }
  }));

  it('a task is moved neither out of a list nor into one that is not hers', () => unchanged(async () => {
    refused(await sameFor(task.id, uuid(), (id) => eve.post(`/v1/tasks/${id}/move`, { list: own.id })), 404, 'not_found');
    await sameFor(list.id, uuid(), (id) => eve.post(`/v1/tasks/${ownTask.id}/move`, { list: id }));
    assert.equal(granted(await eve.get(`/v1/tasks/${ownTask.id}`)).list, own.id);
  }));

  it('no way of changing a task or a list finds one of another', () => unchanged(async () => {
    for (const [method, path, body] of [
      ['PATCH', '', { title: 'x' }], ['DELETE', ''], ['POST', '/complete', {}], ['POST', '/reopen'], ['POST', '/restore'],
      ['POST', '/snooze', { for: 'PT1H' }], ['POST', `/reminders/${uuid()}/dismiss`, {}], ['GET', ''], ['GET', '/history'],
    ]) {
      refused(await sameFor(task.id, uuid(), (id) => eve.request(method, `/v1/tasks/${id}${path}`, body)), 404, 'not_found');
    }
    for (const [method, path, body] of [
      ['GET', ''], ['PATCH', '', { title: 'x' }], ['DELETE', ''], ['POST', '/restore'], ['GET', '/tasks'],
      ['POST', '/tasks', { title: 'x' }], ['GET', '/members'], ['POST', '/members', { email: eve.email, role: 'owner' }],
      ['PATCH', `/members/${owner.account}`, { role: 'viewer' }], ['DELETE', `/members/${owner.account}`],
      ['DELETE', `/members/${eve.account}`], ['GET', '/events'],
    ]) {
      refused(await sameFor(list.id, uuid(), (id) => eve.request(method, `/v1/lists/${id}${path}`, body)), 404, 'not_found');
    }
    refused(await sameFor(list.id, uuid(), (id) => eve.get(`/v1/audit/${id}/verify`)), 404, 'not_found');
    const stream = await eve.get(`/v1/lists/${list.id}/events`, { Accept: 'text/event-stream' });
    refused(stream, 404, 'not_found');
  }));

  it('a filter for what is not hers finds nothing of it', async () => {
    for (const query of [`list=${list.id}`, `assignee=${owner.account}`, 'q=Secret', 'deleted=true&q=Secret']) {
      const page = await eve.get(`/v1/tasks?${query}`);
      assert.doesNotMatch(page.text, /Secret/);
      if (page.status === 200) assert.deepEqual(page.body.items, []);
    }
  });

  it('naming her own list for a task of another gets her no further', () => unchanged(async () => {
    const commands = [
      { op: 'task.patch', list: own.id, task: task.id, data: { title: 'x' } }, { op: 'task.delete', list: own.id, task: task.id },
      { op: 'task.complete', list: own.id, task: task.id }, { op: 'task.move', list: own.id, task: task.id, data: { list: own.id } },
      { op: 'task.restore', list: own.id, task: task.id }, { op: 'list.delete', list: list.id },
      { op: 'member.put', list: list.id, data: { account: eve.account, role: 'owner' } },
      { op: 'member.remove', list: list.id, data: { account: owner.account } },
      { op: 'account.patch', list: owner.account, data: { name: 'Eve' } },
    ].map((command) => ({ id: uuid(), ...command }));
    const bulk = granted(await eve.post('/v1/commands', { commands }));
    for (const [i, result] of bulk.results.entries()) {
      assert.equal(result.ok, false, JSON.stringify([commands[i], result]));
      assert.ok([403, 404, 422].includes(result.problem.status), JSON.stringify([commands[i], result]));
      assert.doesNotMatch(JSON.stringify(result), /Secret/);
    }
    const socket = await eve.socket();
    for (const command of commands) {
      const id = uuid();
      socket.send({ op: 'command', command: { ...command, id } });
      const answer = await socket.find((m) => (m.op === 'result' && m.id === id) || m.op === 'error', 'a result', 0);
      assert.notEqual(answer.ok, true, JSON.stringify([command, answer]));
    }
    await socket.close();
  }));

  it('the command id of another is unrelated: it repeats nothing and shows nothing', async () => {
    const id = uuid();
    const headers = { 'Idempotency-Key': id };
    const first = granted(await owner.post(`/v1/lists/${list.id}/tasks`, { title: 'Secret once' }, headers), 201);
    const stolen = await eve.post(`/v1/lists/${list.id}/tasks`, { title: 'Secret once' }, headers);
    refused(stolen, 404, 'not_found');
    assert.equal(stolen.headers.get('idempotent-replay'), null);
    const mine = await eve.post(`/v1/lists/${own.id}/tasks`, { title: 'Mine' }, headers);
    assert.equal(granted(mine, 201).title, 'Mine');
    assert.notEqual(mine.body.id, first.id);
    assert.equal(mine.headers.get('idempotent-replay'), null);
    const again = await owner.post(`/v1/lists/${list.id}/tasks`, { title: 'Secret once' }, headers);
    assert.equal(granted(again, 201).id, first.id);
    assert.equal(again.headers.get('idempotent-replay'), 'true');
  });

  it('a socket follows neither the list nor the account of another', async () => {
    const socket = await eve.socket();
    for (const stream of [list.id, owner.account, uuid()]) {
      for (const extra of [{}, { after: 0, epoch: granted(await owner.get(`/v1/lists/${list.id}/events`)).epoch }]) {
        const from = socket.messages.length;
        socket.send({ op: 'subscribe', stream, ref: 'x', ...extra });
        const answer = await socket.find((m) => m.ref === 'x', 'an answer', from);
        assert.equal(answer.op, 'error', JSON.stringify(answer));
        assert.equal(answer.problem.status, 404, JSON.stringify(answer));
      }
    }
    const from = socket.messages.length;
    socket.send({ op: 'subscribe', all: true, after: { [list.id]: 1, [own.id]: 1 }, epoch: granted(await owner.get(`/v1/lists/${list.id}/events`)).epoch });
    await socket.find((m) => m.op === 'removed' && m.stream === list.id, 'it is told that the list is not hers', from);
    await owner.patch(`/v1/tasks/${task.id}`, { notes: 'Secret notes' });
    granted(await eve.patch(`/v1/tasks/${ownTask.id}`, { notes: 'Own notes' }));
    await socket.find((m) => m.op === 'event' && m.stream === own.id && m.set?.notes === 'Own notes', 'her own event', from);
    assert.doesNotMatch(JSON.stringify(socket.messages), /Secret/);
    await socket.close();
  });

  it('a cursor is good for who got it where he got it, and no byte of it can be another', async () => {
    for (let i = 0; i < 3; i++) await eve.task(own.id);
    const { next } = granted(await eve.get(`/v1/lists/${own.id}/tasks?limit=1`));
    assert.ok(next);
    for (const path of [`/v1/lists/${list.id}/tasks`, '/v1/tasks', '/v1/lists', '/v1/tokens', `/v1/lists/${own.id}/members`, `/v1/lists/${own.id}/tasks?sort=title`]) {
      const answer = await eve.get(`${path}${path.includes('?') ? '&' : '?'}limit=1&cursor=${next}`);
      assert.ok([400, 404].includes(answer.status), `${path}: ${answer.text}`);
      assert.doesNotMatch(answer.text, /Secret/);
    }
    const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    for (let i = 0; i < next.length; i++) {
      const other = letters[(letters.indexOf(next[i]) + 17) % letters.length];
      const forged = next.slice(0, i) + other + next.slice(i + 1);
      refused(await eve.get(`/v1/lists/${own.id}/tasks?limit=1&cursor=${encodeURIComponent(forged)}`), 400, 'malformed');
    }
    granted(await eve.get(`/v1/lists/${own.id}/tasks?limit=1&cursor=${next}`));
  });

  it('a token for some lists is held to them in every field as well', async () => {
    const other = await owner.list('Secret other');
    const otherTask = await owner.task(other.id);
    const { token } = granted(await owner.post('/v1/tokens', { name: 'one list', scopes: ['read', 'write'], lists: [list.id] }), 201);
    const bound = new Client(bench.taskwire.url, token);
    granted(await bound.get(`/v1/tasks/${task.id}`));
    for (const [method, path, body] of [
      ['GET', `/v1/tasks/${otherTask.id}`], ['PATCH', `/v1/tasks/${otherTask.id}`, { title: 'x' }], ['GET', `/v1/lists/${other.id}/tasks`],
      ['POST', `/v1/tasks/${otherTask.id}/move`, { list: list.id }], ['GET', `/v1/audit/${other.id}/verify`],
    ]) {
      const answer = await bound.request(method, path, body);
      assert.ok([403, 404].includes(answer.status), `${method} ${path}: ${answer.text}`);
      assert.doesNotMatch(answer.text, /Secret other/);
    }
    const out = await bound.post(`/v1/tasks/${task.id}/move`, { list: other.id });
    assert.ok([403, 404, 422].includes(out.status), out.text);
    assert.doesNotMatch(granted(await bound.get('/v1/tasks')).items.map((one) => one.list).join(), new RegExp(other.id));
    assert.deepEqual(granted(await bound.get('/v1/lists')).items.map((one) => one.id), [list.id]);
  });
});
