// SPDX-License-Identifier: Apache-2.0
// Every example of the descriptions, for real: requests and messages are sent as they stand there but for ids, and what
// comes back has the shape of the examples and fits the schemas.
import { describe, it, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { Bench } from '../lib/program.mjs';
import { Client, Socket, uuid } from '../lib/client.mjs';
import { granted } from '../lib/expect.mjs';
import { Description } from '../lib/contract.mjs';
import { waitFor } from '../lib/wait.mjs';

const openapi = Description.read('openapi.yaml');
const asyncapi = Description.read('asyncapi.yaml');

// Ids in the examples, and what they stand for.
const IDS = {
  '01a2082b-0c1d-7e2f-8a3b-4c5d6e7f8091': 'list',
  '01a2082d-2676-7726-929f-85a8226b050c': 'task',
  '01a2082a-aabc-797b-8729-96df6db008c5': 'me',
  '01a2082c-1111-7222-8333-444455556666': 'account',
  '01a2082e-0000-7000-8000-000000000001': 'command',
  '01a2082b-ffff-7e2f-8a3b-4c5d6e7f8092': 'other',
};

// What an example has that is nowhere in what came, and the other way round. Each item of its arrays has to look like
// one of those that came.
function differences(example, real, at = '') {
  const kind = (value) => (Array.isArray(value) ? 'array' : value === null ? 'null' : typeof value);
  if (kind(example) === 'null' || kind(real) === 'null') return [];
  if (kind(example) !== kind(real)) return [`${at} is ${kind(real)}, not ${kind(example)}`];
  if (kind(example) === 'array') {
    if (real.length === 0) return [];
    return example.flatMap((item, i) => real.map((one) => differences(item, one, `${at}/${i}`)).sort((a, b) => a.length - b.length)[0]);
  }
  if (kind(example) !== 'object') return [];
  const keys = new Set([...Object.keys(example), ...Object.keys(real)]);
  return [...keys].flatMap((key) => {
    if (!(key in real)) return [`${at}/${key} is not in what came`];
    return key in example ? differences(example[key], real[key], `${at}/${key}`) : [`${at}/${key} is not in the example`];
  });
}

describe('the examples', { timeout: 300_000 }, () => {
  let bench;
  let url;
  let owner;
  let ben;

  before(async () => {
    bench = await Bench.start();
    url = bench.taskwire.url;
    ben = await Client.register(url, { email: 'ben@example.org', name: 'Ben' });
    owner = await Client.register(url);
  });
  after(() => bench?.stop());

  // A list with a member and a task, for one request or a few.
  async function world(client) {
    const list = await client.list();
    granted(await client.post(`/v1/lists/${list.id}/members`, { email: 'ben@example.org', role: 'editor' }), 201);
    const task = await client.task(list.id, {
      due: '2027-11-23T09:00', recurrence: { rule: 'weekly' }, reminders: [{ before: 'PT15M', for: 'me' }], tags: ['home'],
    });
    granted(await client.patch(`/v1/tasks/${task.id}`, { priority: 'high' }));
    const token = granted(await client.post('/v1/tokens', { name: 'x', scopes: ['read'] }), 201);
    const other = await client.list('Another');
    return { list: list.id, task: task.id, series: task.series, reminder: task.reminders[0].id, token: token.id, account: ben.account, me: client.account, other: other.id, command: uuid() };
  }

  const fill = (example, values) => JSON.parse(JSON.stringify(example), (_, value) => values[IDS[value]] ?? value);

  // What an operation needs to have happened.
  const preludes = {
    restoreList: (client, { list }) => client.delete(`/v1/lists/${list}`),
    restoreTask: (client, { task }) => client.delete(`/v1/tasks/${task}`),
    deleteMe: (client, { list }) => client.delete(`/v1/lists/${list}`), // which is shared, and would be nobody's
    reopenTask: (client, { task }) => client.post(`/v1/tasks/${task}/complete`),
  };
  const ownAccount = ['logOut', 'deleteMe'];

  // The parameters that have examples, as a query.
  function query(operation) {
    const params = new URLSearchParams();
    for (const given of operation.parameters ?? []) {
      const { name, in: place, example } = openapi.resolve(given);
      if (place === 'query' && example !== undefined) params.append(name, example);
    }
    return params.size > 0 ? `?${params}` : '';
  }

  // An operation's request bodies, by content type; one without if it takes none.
  function bodies({ requestBody }) {
    if (!requestBody) return [[undefined, undefined]];
    return Object.entries(requestBody.content).map(([type, { example }]) => {
      assert.ok(example !== undefined || requestBody.required !== true, `${type} has an example`);
      return [type, example];
    });
  }

  for (const operation of openapi.operations()) {
    it(`${operation.operationId}: what the examples send is taken, and answered so`, async () => {
      for (const [type, example] of bodies(operation)) {
        const client = ownAccount.includes(operation.operationId) ? await Client.register(url) : owner;
        const values = await world(client);
        await preludes[operation.operationId]?.(client, values);
        const path = operation.path.replace(/\{(\w+)\}/g, (_, name) => values[name]);
        const body = example && fill(example, values);
        const answer = await client.request(operation.method, path + query(operation), body, type ? { 'Content-Type': type } : {});
        openapi.check(operation.method, operation.path, answer);
        assert.ok(answer.status < 300, answer.text);
        const content = openapi.at(`${operation.pointer}/responses/${answer.status}`).value.content ?? {};
        if (!content['application/json']) continue;
        assert.ok(content['application/json'].example, 'the answer has an example');
        assert.deepEqual(differences(content['application/json'].example, answer.body), [], answer.text);
      }
    });
  }

  // --- messages ---

  const examplesOf = (name) => asyncapi.doc.components.messages[name].examples.map(({ payload }) => payload);

  // Reset is compared where a reader is too slow, in websocket.test.mjs.
  it('what the messages say is understood, and what comes back is as they say', async () => {
    const values = await world(owner);
    const socket = await Socket.open(url, { welcome: false });
    const send = (name, extra = {}) => socket.send({ ...fill(examplesOf(name)[0], values), ...extra });
    const came = (name, from) => socket.find((message) => message.op === name, name, from);
    send('hello', { token: owner.token });
    await came('welcome');
    send('subscribe');
    const { epoch, rev } = await came('snapshot');
    send('subscribe', { after: rev - 1, epoch });
    await came('subscribed');
    await came('event');
    send('command');
    assert.equal((await came('result')).ok, true);
    const { head } = granted(await owner.get('/v1/me/events'));
    socket.send({ op: 'subscribe', stream: owner.account, after: head, epoch });
    const soon = new Date(Date.now() + 1500).toISOString();
    const reminded = await owner.task(values.list, { reminders: [{ at: soon, for: 'all' }] });
    const ofType = (type) => socket.find((message) => message.op === 'event' && message.type === type, type);
    await ofType('reminder.due');
    socket.send({ op: 'command', command: { id: uuid(), op: 'reminder.dismiss', task: reminded.id, data: { reminder: reminded.reminders[0].id } } });
    await ofType('reminder.dismissed');
    const from = socket.messages.length;
    socket.send({ op: 'command', command: { id: uuid(), op: 'task.reopen', list: values.list, task: uuid() } });
    assert.equal((await came('result', from)).ok, false);
    send('ping');
    await came('pong');
    send('unsubscribe');
    await came('unsubscribed');
    socket.send({ op: 'nothing' });
    await came('error');
    send('subscribe');
    await waitFor(() => socket.messages.filter((message) => message.op === 'snapshot').length === 2, 'another snapshot');
    assert.equal((await owner.delete(`/v1/lists/${values.list}`)).status, 204);
    await came('removed');
    await socket.close();
    compare([...socket.messages]);
  });

  function compare(messages) {
    const names = new Set(messages.map((message) => message.op));
    const received = Object.values(asyncapi.doc.operations).filter(({ action }) => action === 'receive')
      .flatMap((operation) => operation.messages.map(({ $ref }) => $ref.split('/').at(-1)));
    const expected = Object.keys(asyncapi.doc.channels.socket.messages).filter((name) => !received.includes(name) && name !== 'reset');
    assert.deepEqual([...names].sort(), expected.sort(), 'every message that the server sends came');
    for (const message of messages) {
      assert.deepEqual(asyncapi.faults(`/components/messages/${message.op}/payload`, message), [], JSON.stringify(message));
      for (const task of [message.task, ...(message.tasks ?? [])]) {
        if (task && message.op !== 'event') assert.deepEqual(openapi.faults('/components/schemas/Task', task), [], JSON.stringify(task));
      }
      if (message.problem) assert.deepEqual(openapi.faults('/components/schemas/Problem', message.problem), [], JSON.stringify(message));
    }
    for (const name of expected) {
      for (const example of examplesOf(name)) {
        const found = messages.filter((message) => message.op === name).map((message) => differences(example, message));
        assert.ok(found.some((some) => some.length === 0), `${name}: ${JSON.stringify(found)}`);
      }
    }
  }
});
