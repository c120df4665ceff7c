// SPDX-License-Identifier: Apache-2.0
// The WebSocket: who is let in, what each message is answered, and that a stream comes whole, in order and once.
import { describe, it, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { encode } from '@msgpack/msgpack';
import { Bench } from '../lib/program.mjs';
import { Client, MSGPACK, Socket, uuid } from '../lib/client.mjs';
import { Description } from '../lib/contract.mjs';
import { Follower } from '../lib/follower.mjs';
import { granted, problem } from '../lib/expect.mjs';
import { readAll } from '../lib/pages.mjs';
import { exchange, request } from '../lib/raw.mjs';
import { random, waitFor } from '../lib/wait.mjs';

const KIB = 1024;
const seed = Number(process.env.TASKWIRE_SEED ?? Date.now() % 1_000_000);

describe('WebSocket', { timeout: 600_000 }, () => {
  let bench;
  let first; // two gateways
  let second; // another process on the same database
  let url;
  let me;

  const open = (options) => me.socket(options);
  const closed = (socket, limitMs) => waitFor(() => socket.closed, 'the socket is closed', limitMs);
  const sendCommand = (socket, command, extra) => socket.send({ op: 'command', command: { id: uuid(), ...command }, ...extra });
  const answerTo = (socket, ref) => socket.find((message) => message.ref === ref, `an answer to ${ref}`);
  const eventsUpTo = async (socket, stream, rev) => {
    await socket.find((message) => message.op === 'event' && message.stream === stream && message.rev >= rev, `event ${rev}`);
    return socket.events(stream);
  };
  const tokenOf = async (client, fields) =>
    granted(await client.post('/v1/tokens', { name: 'a program', scopes: ['read', 'write'], ...fields }), 201);

  // The connection still works.
  async function lives(socket) {
    const ref = uuid();
    socket.send({ op: 'ping', ref });
    assert.equal((await answerTo(socket, ref)).op, 'pong');
  }

  // Runs a command over the socket; answers its result.
  async function run(socket, command) {
    const ref = uuid();
    sendCommand(socket, command, { ref });
    return answerTo(socket, ref);
  }

  before(async () => {
    bench = await Bench.start({ settings: { GATEWAYS: 2, ALLOWED_ORIGINS: 'https://app.example.org' } });
    first = bench.taskwire;
    second = await bench.program().start();
    url = first.url;
    me = await Client.register(url);
  });
  after(() => bench?.stop());

  // --- being let in ---

  it('one logs in by header, by cookie or by a first message', async () => {
    const login = await new Client(url).post('/v1/sessions', { email: me.email, password: me.password });
    const cookie = login.headers.get('set-cookie').split(';')[0];
    const sockets = [
      await open(),
      await open({ hello: true }),
      await Socket.open(url, { headers: { Cookie: cookie, Origin: url } }),
    ];
    for (const socket of sockets) {
      assert.deepEqual(socket.messages, [{ op: 'welcome', account: me.account, heartbeat_s: socket.messages[0].heartbeat_s }]);
      assert.ok(socket.messages[0].heartbeat_s > 0);
      await lives(socket);
      await socket.close();
    }
    const withRef = await Socket.open(url, { welcome: false });
    withRef.send({ op: 'hello', token: me.token, ref: 'a' });
    withRef.send({ op: 'ping', ref: 'b' });
    await answerTo(withRef, 'b');
    assert.deepEqual(withRef.messages.map((message) => [message.op, message.ref]), [['welcome', 'a'], ['pong', 'b']]);
    await withRef.close();
  });

  it('who does not log in, or cannot, is closed with 4001', async () => {
    const started = performance.now();
    const silent = await Socket.open(url, { welcome: false });
    for (const [options, ...messages] of [
      [{ token: 'nonsense' }],
      [{}, { op: 'hello', token: 'nonsense' }],
      [{}, { op: 'hello', token: `${me.token.slice(0, -3)}xyz` }],
      [{}, { op: 'ping' }],
      [{}, { op: 'subscribe', stream: me.account }],
    ]) {
      const socket = await Socket.open(url, { ...options, welcome: false });
      for (const message of messages) socket.send(message);
      assert.equal((await closed(socket, 4000)).code, 4001);
      assert.ok(!socket.messages.some((message) => message.op === 'welcome'));
    }
    assert.equal((await closed(silent)).code, 4001);
    const waited = performance.now() - started;
    assert.ok(waited >= 4900 && waited < 15_000, `${waited} ms`);
  });

  it('logging in twice is refused and changes nothing', async () => {
    const other = await Client.register(url);
    const socket = await open();
    socket.send({ op: 'hello', token: other.token, ref: 1 });
    problem((await answerTo(socket, 1)).problem, 409, 'conflict');
    await socket.subscribe(me.account);
    assert.equal((await socket.subscribe(other.account)).op, 'error');
    await socket.close();
  });

  it('of the subprotocols that are offered the first that is known is taken', async () => {
    for (const [offered, taken] of [[['taskwire.v1.json'], 'taskwire.v1.json'], [[], ''], [[MSGPACK], MSGPACK],
      [[MSGPACK, 'taskwire.v1.json'], MSGPACK], [['taskwire.v1.json', MSGPACK], 'taskwire.v1.json'],
      [['nonsense', MSGPACK], MSGPACK], [['nonsense', 'taskwire.v1.json'], 'taskwire.v1.json']]) {
      const socket = await open({ protocol: offered });
      assert.equal(socket.ws.protocol, taken);
      await lives(socket);
      await socket.close();
    }
    for (const protocol of ['taskwire.v2.msgpack', 'nonsense', 'TASKWIRE.V1.JSON']) {
      await assert.rejects(open({ protocol }), /refused with 501/);
    }
  });

  it('a page may only come from an origin that is allowed, whatever it is logged in by', async () => {
    for (const origin of [url, 'https://app.example.org']) await (await open({ headers: { Origin: origin } })).close();
    for (const origin of ['https://evil.example', 'null', `${url}.evil.example`]) {
      await assert.rejects(open({ headers: { Origin: origin } }), /refused with 403/);
      await assert.rejects(Socket.open(url, { headers: { Origin: origin }, welcome: false }), /refused with 403/);
    }
  });

  it('an upgrade that is none is refused as over HTTP', async () => {
    const good = { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': 'AAAAAAAAAAAAAAAAAAAAAA==' };
    for (const [path, headers, status, code] of [
      ['/v1/ws?token=x', {}, 400, 'malformed'],
      ['/v1/lists', {}, 404, 'not_found'],
      ['/v1/ws', { 'Sec-WebSocket-Version': '8' }, 426, 'malformed'],
      ['/v1/ws', { 'Sec-WebSocket-Key': 'short' }, 400, 'malformed'],
      ['/v1/ws', { 'Sec-WebSocket-Key': null }, 400, 'malformed'],
      ['/v1/ws', { Origin: 'https://evil.example' }, 403, 'forbidden'],
      ['/v1/ws', { Upgrade: null }, 400, 'malformed'],
    ]) {
      const headersSent = { ...good, ...headers };
      if (!headersSent.Upgrade) headersSent.Connection = 'close';
      const { answers } = await exchange(url, request('GET', path, { headers: headersSent }));
      assert.equal(answers[0].headers.get('content-type'), 'application/problem+json');
      problem(answers[0].body, status, code);
    }
  });

  // --- subscribing ---

  it('a subscription begins with a snapshot: what is open, in order; what is closed only if asked for', async () => {
    const list = await me.list();
    const c = await me.task(list.id, { title: 'c', position: 'c' });
    const a = await me.task(list.id, { title: 'a', position: 'a', status: 'in_progress' });
    const b = granted(await me.post(`/v1/tasks/${(await me.task(list.id, { title: 'b', position: 'b' })).id}/complete`));
    await me.delete(`/v1/tasks/${(await me.task(list.id)).id}`);
    const socket = await open();
    const { epoch, ...snapshot } = await socket.subscribe(list.id, { ref: 7 });
    assert.deepEqual(snapshot, { op: 'snapshot', ref: 7, stream: list.id, rev: 7, tasks: [a, c], more: false });
    assert.equal(epoch, granted(await me.get(`/v1/lists/${list.id}/events`)).epoch);
    const again = await socket.subscribe(list.id, { closed: true });
    assert.deepEqual(again.tasks.map((task) => task.id).sort(), [a, b, c].map((task) => task.id).sort());
    assert.deepEqual(again.tasks.find((task) => task.id === b.id), b);
    await socket.close();
  });

  it('then every event comes live, in order and once, whoever makes it, at every gateway and process', async () => {
    const list = await me.list();
    const sockets = [];
    for (const where of [first, first, first, second]) {
      const socket = await Socket.open(where.url, { token: me.token });
      await socket.subscribe(list.id);
      sockets.push(socket);
    }
    await Promise.all(Array.from({ length: 40 }, (_, i) => new Client([first, second][i % 2].url, me.token).task(list.id, { title: `${i}` })));
    const log = await readAll(me, `/v1/lists/${list.id}/events`, { limit: 500, after: 1 });
    for (const socket of sockets) {
      const events = await eventsUpTo(socket, list.id, 41);
      assert.deepEqual(events, log.map(({ was, after: whole, ...event }) => ({ op: 'event', ...event })));
      await socket.close();
    }
  });

  it('who resumes gets what was missed and nothing twice; who cannot resume gets a snapshot', async () => {
    const list = await me.list();
    for (let i = 0; i < 6; i++) await me.task(list.id);
    const { epoch } = granted(await me.get(`/v1/lists/${list.id}/events`));
    const resumed = [];
    for (const after of [0, 3, 7]) {
      const socket = await open();
      assert.deepEqual(await socket.subscribe(list.id, { after, epoch }), { op: 'subscribed', stream: list.id, epoch, rev: 7 });
      resumed.push([after, socket]);
    }
    for (const position of [{ after: 3 }, { epoch }, { after: 8, epoch }, { after: 3, epoch: '0123456789abcdef' }, { after: 3, epoch: 'x' },
      { after: 2 ** 52, epoch }]) {
      const socket = await open();
      const snapshot = await socket.subscribe(list.id, position);
      assert.deepEqual([snapshot.op, snapshot.rev, snapshot.tasks.length], ['snapshot', 7, 6], JSON.stringify(position));
      await lives(socket);
      assert.deepEqual(socket.events(), []);
      await socket.close();
    }
    await me.task(list.id);
    for (const [after, socket] of resumed) {
      const revs = (await eventsUpTo(socket, list.id, 8)).map((event) => event.rev);
      assert.deepEqual(revs, [1, 2, 3, 4, 5, 6, 7, 8].slice(after));
      await socket.close();
    }
  });

  it('a long stream comes whole: its snapshot in several messages of one rev, its events page by page', async () => {
    const list = await me.list();
    const socket = await open();
    const ids = Array.from({ length: 450 }, uuid);
    for (let i = 0; i < ids.length; i += 150) {
      for (const task of ids.slice(i, i + 150)) sendCommand(socket, { op: 'task.create', list: list.id, task, data: { title: 'one of many' } });
      await waitFor(() => socket.messages.filter((message) => message.ok).length >= i + 150, 'the tasks are there');
    }
    const whole = await open();
    await whole.subscribe(list.id);
    await whole.find((message) => message.more === false, 'the end of the snapshot');
    const parts = whole.messages.filter((message) => message.op === 'snapshot');
    assert.ok(parts.length > 1, 'more than one message');
    assert.deepEqual(new Set(parts.map((part) => part.rev)), new Set([451]));
    assert.deepEqual(parts.map((part) => part.more), [...parts.slice(1).map(() => true), false]);
    assert.deepEqual(parts.flatMap((part) => part.tasks.map((task) => task.id)).sort(), [...ids].sort());
    const { epoch } = parts[0];
    const resumed = await open();
    await resumed.subscribe(list.id, { after: 0, epoch });
    const revs = (await eventsUpTo(resumed, list.id, 451)).map((event) => event.rev);
    assert.deepEqual(revs, Array.from({ length: 451 }, (_, i) => i + 1));
    for (const one of [socket, whole, resumed]) await one.close();
  });

  it('an account is a stream too, for itself alone: it tells of lists that one joins', async () => {
    const friend = await Client.register(url);
    const mine = await friend.list('Mine');
    const socket = await friend.socket();
    const snapshot = await socket.subscribe(friend.account);
    assert.deepEqual(snapshot.account, granted(await friend.get('/v1/me')));
    assert.deepEqual(snapshot.lists, [mine]);
    const list = await me.list('Shared');
    assert.equal((await socket.subscribe(list.id)).op, 'error');
    granted(await me.post(`/v1/lists/${list.id}/members`, { email: friend.email, role: 'viewer' }), 201);
    const joined = await socket.find((message) => message.type === 'list.joined', 'the invitation');
    assert.equal(joined.stream, friend.account);
    assert.equal(joined.rev, snapshot.rev + 1);
    assert.equal((await socket.subscribe(joined.set.list)).op, 'snapshot');
    problem((await socket.subscribe(me.account)).problem, 404, 'not_found');
    await socket.close();
  });

  it('what one may not see is the same as what is not there', async () => {
    const stranger = await Client.register(url);
    const list = await me.list();
    const task = await me.task(list.id);
    const socket = await stranger.socket();
    const answers = [];
    for (const stream of [list.id, uuid(), me.account, task.id]) {
      for (const position of [{}, { after: 1, epoch: '0123456789abcdef' }]) {
        const answer = await socket.subscribe(stream, position);
        problem(answer.problem, 404, 'not_found');
        answers.push({ ...answer, stream: '' });
      }
    }
    for (const answer of answers) assert.deepEqual(answer, answers[0]);
    await me.task(list.id);
    await lives(socket);
    assert.deepEqual(socket.events(), []);
    await socket.close();
  });

  it('a subscription ends when it is ended, and begins anew when it is asked for again', async () => {
    const [list, other] = [await me.list(), await me.list()];
    const socket = await open();
    await socket.subscribe(list.id);
    await socket.subscribe(other.id);
    socket.send({ op: 'unsubscribe', stream: list.id, ref: 'u' });
    assert.deepEqual(await answerTo(socket, 'u'), { op: 'unsubscribed', ref: 'u', stream: list.id });
    await me.task(list.id);
    await me.task(other.id);
    await eventsUpTo(socket, other.id, 2);
    assert.deepEqual(socket.events(list.id), []);
    socket.send({ op: 'unsubscribe', stream: uuid(), ref: 'never' });
    assert.equal((await answerTo(socket, 'never')).op, 'unsubscribed');
    assert.equal((await socket.subscribe(list.id)).rev, 2);
    assert.equal((await socket.subscribe(list.id)).rev, 2);
    await me.task(list.id);
    assert.equal((await eventsUpTo(socket, list.id, 3)).length, 1, 'not twice');
    await socket.close();
  });

  // --- following everything ---

  it('one request follows my account and all my lists, those that I make or join later too', async () => {
    for (const [where, protocol] of [[first, 'taskwire.v1.json'], [second, MSGPACK]]) {
      const client = await Client.register(url);
      const lists = [await client.list(), await client.list()];
      const socket = await Socket.open(where.url, { token: client.token, protocol });
      socket.send({ op: 'subscribe', all: true, ref: 'all' });
      for (const id of [client.account, ...lists.map((list) => list.id)]) {
        const answer = await socket.find((message) => message.stream === id, `an answer for ${id}`);
        assert.deepEqual([answer.op, answer.ref], ['snapshot', 'all']);
      }
      const snapshotOf = (id) => socket.find((message) => message.op === 'snapshot' && message.stream === id, `list ${id} appears`);
      const made = await client.list();
      assert.equal((await snapshotOf(made.id)).ref, undefined);
      const shared = await me.list();
      granted(await me.post(`/v1/lists/${shared.id}/members`, { email: client.email, role: 'editor' }), 201);
      await snapshotOf(shared.id);
      for (const id of [lists[0].id, made.id, shared.id]) {
        const task = await client.task(id);
        const event = await socket.find((message) => message.op === 'event' && message.task === task.id, 'the event of the task');
        assert.equal(event.stream, id);
      }
      await run(socket, { op: 'member.remove', list: shared.id, data: { account: client.account } });
      await me.task(shared.id);
      const told = await socket.find((message) => message.op === 'removed' || message.ok === false, 'an end');
      if (told.op === 'removed') assert.equal(told.stream, shared.id);
      socket.send({ op: 'unsubscribe', all: true, ref: 'enough' });
      assert.deepEqual(await answerTo(socket, 'enough'), { op: 'unsubscribed', ref: 'enough', all: true });
      const from = socket.messages.length;
      await client.task(made.id);
      await client.list();
      await lives(socket);
      assert.deepEqual(socket.messages.slice(from, -1), []);
      await socket.close();
    }
  });

  it('who follows everything resumes where it was, and is told of what is not theirs any more', async () => {
    const client = await Client.register(url);
    const [list, other] = [await client.list(), await client.list()];
    for (let i = 0; i < 3; i++) await client.task(list.id);
    const strange = await me.list();
    const { epoch } = granted(await client.get(`/v1/lists/${list.id}/events`));
    const socket = await client.socket();
    socket.send({ op: 'subscribe', all: true, after: { [list.id.toUpperCase()]: 2, [strange.id]: 1, [client.account]: 0 }, epoch });
    assert.equal((await socket.find((message) => message.stream === list.id, 'the list')).op, 'subscribed');
    assert.equal((await socket.find((message) => message.stream === other.id, 'the other')).op, 'snapshot');
    assert.equal((await socket.find((message) => message.stream === strange.id, 'the stranger')).op, 'removed');
    assert.equal((await socket.find((message) => message.stream === client.account, 'the account')).op, 'subscribed');
    assert.deepEqual((await eventsUpTo(socket, list.id, 4)).map((event) => event.rev), [3, 4]);
    await socket.close();
    const only = await tokenOf(client, { lists: [other.id] });
    const restricted = await Socket.open(url, { token: only.secret ?? only.token });
    restricted.send({ op: 'subscribe', all: true, ref: 1 });
    await restricted.find((message) => message.op === 'snapshot', 'the only list');
    await lives(restricted);
    assert.deepEqual(restricted.messages.filter((message) => message.stream).map((message) => message.stream), [other.id]);
    for (const message of [{ after: 3 }, { after: { x: 1 } }, { after: { [list.id]: -1 } }, { stream: list.id }]) {
      const ref = uuid();
      restricted.send({ op: 'subscribe', all: true, ref, ...message });
      problem((await answerTo(restricted, ref)).problem, 422, 'invalid');
    }
    await restricted.close();
  });

  // --- msgpack ---

  it('in msgpack everything is said in the same maps, whatever it is', async () => {
    const list = await me.list();
    const task = await me.task(list.id, { title: 'Zürich \u{1f600}', notes: 'x'.repeat(60_000), tags: ['a'], due: '2030-01-01' });
    const { epoch } = granted(await me.get(`/v1/lists/${list.id}/events`));
    const sockets = await Promise.all(['taskwire.v1.json', MSGPACK].map((protocol) => open({ protocol, hello: true })));
    for (const socket of sockets) {
      for (const [ref, message] of Object.entries({
        a: { op: 'subscribe', stream: me.account },
        b: { op: 'subscribe', stream: list.id, after: 0, epoch },
        c: { op: 'subscribe', stream: uuid() },
        d: { op: 'hello', token: 'again' },
        e: { op: 'unsubscribe', stream: me.account },
        f: { op: 'fly', wings: 2 },
        g: { op: 'ping' },
        h: { op: 'subscribe', stream: list.id },
      })) {
        socket.send({ ...message, ref });
        await answerTo(socket, ref);
      }
    }
    for (const [i, socket] of sockets.entries()) {
      const id = uuid();
      const result = await run(socket, { id, op: 'task.patch', task: task.id, data: { title: `${i}`, tags: { add: [`${i}`] } } });
      assert.deepEqual(result, { op: 'result', ref: result.ref, id, ok: true, stream: list.id, rev: 3 + i, task: granted(await me.get(`/v1/tasks/${task.id}`)) });
      const refused = await run(socket, { op: 'task.patch', task: uuid(), data: { title: 'x' } });
      problem(refused.problem, 404, 'not_found');
    }
    for (const socket of sockets) await eventsUpTo(socket, list.id, 4);
    const said = sockets.map((socket) => socket.messages.filter((message) => message.op !== 'result')
      .map((message) => (message.ref === 'c' ? { ...message, stream: '' } : message)));
    const order = (messages) => messages.map((message) => JSON.stringify(message)).sort();
    assert.deepEqual(order(said[1].filter((m) => m.rev !== 1 || m.op !== 'event')), order(said[0].filter((m) => m.rev !== 1 || m.op !== 'event')));
    const log = (await readAll(me, `/v1/lists/${list.id}/events`)).map(({ was, after: whole, ...event }) => ({ op: 'event', ...event }));
    for (const socket of sockets) {
      for (const event of socket.events(list.id)) assert.deepEqual(event, log[event.rev - 1]);
      await socket.close();
    }
  });

  it('what is no msgpack of ours is answered, what is not binary closes, and the other way round', async () => {
    const socket = await open({ protocol: MSGPACK });
    const bad = [[], [0xc1], [0x81, 0xa2], [0xdb, 0xff, 0xff, 0xff, 0xff], [0xdf, 0xff, 0xff, 0xff, 0xff], [0x90], [0xc0],
      [0x81, 0xa2, 0x6f, 0x70, 0xa1, 0xff], [...encode({ op: 'ping' }), 0], encode({ op: 'ping', ref: 1.5 }), encode({ op: 'ping', ref: new Uint8Array(3) }),
      encode({ op: 'ping', at: new Date() }), [0x82, ...encode('op'), ...encode('ping'), ...encode('op'), ...encode('ping')],
      Array(1000).fill(0x91), encode({ op: 'hello', token: 'a\0b' })];
    for (const [i, bytes] of bad.entries()) {
      const from = socket.messages.length;
      socket.send(Uint8Array.from(bytes));
      const answer = await socket.find((message) => message.op === 'error', `an answer to ${i}`, from);
      assert.ok(['malformed', 'invalid'].includes(answer.problem.code), JSON.stringify(answer));
    }
    await lives(socket);
    socket.send('{"op":"ping"}');
    assert.equal((await closed(socket)).code, 1003);
    const text = await open();
    text.send(encode({ op: 'ping' }));
    assert.equal((await closed(text)).code, 1003);
  });

  // --- commands ---

  it('every op can be sent; its result has what it did', async () => {
    const friend = await Client.register(url);
    const socket = await open();
    const made = await run(socket, { op: 'list.create', data: { title: 'By socket' } });
    const list = made.stream;
    assert.equal(granted(await me.get(`/v1/lists/${list}`)).title, 'By socket');
    await socket.subscribe(list);
    const member = await run(socket, { op: 'member.put', list, data: { email: friend.email, role: 'editor' } });
    assert.equal(member.rev, 2);
    const again = await run(socket, { op: 'member.put', list, data: { account: friend.account, role: 'viewer' } });
    assert.equal(again.rev, 3);
    const { op, ok, task } = await run(socket, { op: 'task.create', list, data: { title: 'New', tags: ['a'] } });
    assert.deepEqual([op, ok, task], ['result', true, granted(await me.get(`/v1/tasks/${task.id}`))]);
    for (const [command, check] of [
      [{ op: 'task.patch', data: { title: 'Newer' } }, (after) => after.title === 'Newer'],
      [{ op: 'task.complete' }, (after) => after.status === 'done'],
      [{ op: 'task.reopen' }, (after) => after.status === 'open'],
      [{ op: 'task.patch', list, data: {} }, (after) => after.rev === 7],
      [{ op: 'task.delete' }, (after) => after.deleted_at !== null],
      [{ op: 'task.restore' }, (after) => after.deleted_at === null],
      [{ op: 'task.snooze', data: { for: 'PT1H' } }, (after) => after.reminders[0].snooze],
      [{ op: 'task.move', data: { list } }, (after) => after.list === list],
    ]) {
      const result = await run(socket, { task: task.id, ...command });
      assert.ok(result.ok && check(result.task), JSON.stringify(result));
      assert.equal(result.stream, list);
    }
    const account = await run(socket, { op: 'account.patch', data: { name: 'By socket' } });
    assert.equal(account.stream, me.account);
    assert.equal(granted(await me.get('/v1/me')).name, 'By socket');
    const types = (await eventsUpTo(socket, list, 12)).map((event) => event.type);
    assert.deepEqual(types, ['member.added', 'member.changed', 'task.created', 'task.updated', 'task.completed', 'task.reopened',
      'task.updated', 'task.deleted', 'task.restored', 'task.snoozed', 'task.updated']);
    await socket.close();
  });

  it('a repeat has the same result, over the socket and over HTTP', async () => {
    const list = await me.list();
    const socket = await open();
    const command = { id: uuid(), op: 'task.create', list: list.id, data: { title: 'Once' } };
    const results = [await run(socket, command), await run(socket, command)];
    assert.deepEqual({ ...results[1], ref: '' }, { ...results[0], ref: '' });
    const mismatch = await run(socket, { ...command, data: { title: 'Twice' } });
    problem(mismatch.problem, 409, 'idempotency_mismatch');
    const answer = await me.post(`/v1/lists/${list.id}/tasks`, { title: 'Once' }, { 'Idempotency-Key': command.id });
    assert.equal(answer.headers.get('idempotent-replay'), 'true');
    assert.equal(answer.body.id, results[0].task.id);
    assert.equal(granted(await me.get(`/v1/lists/${list.id}`)).head, 2);
    await socket.close();
  });

  it('a command that is refused has a result that says why, and the connection goes on', async () => {
    const stranger = await Client.register(url);
    const list = await me.list();
    const task = await me.task(list.id);
    const theirs = await stranger.list();
    const socket = await open();
    for (const [command, status, code, pointers] of [
      [{ op: 'task.create', list: list.id, data: { title: '', colour: 1 } }, 422, 'invalid', ['/data/title', '/data/colour']],
      [{ op: 'task.create', list: list.id }, 422, 'invalid', ['/data/title']],
      [{ op: 'task.create', data: { title: 'x' } }, 422, 'invalid', ['/list']],
      [{ op: 'task.patch', data: { title: 'x' } }, 422, 'invalid', ['/task']],
      [{ op: 'task.patch', task: 'nonsense', data: {} }, 422, 'invalid', ['/task']],
      [{ op: 'task.patch', task: task.id, data: [] }, 422, 'invalid', ['/data']],
      [{ op: 'task.patch', task: task.id, expect: 0, data: {} }, 422, 'invalid', ['/expect']],
      [{ op: 'task.patch', task: task.id, expect: 1, data: { title: 'x' } }, 412, 'precondition_failed'],
      [{ op: 'task.patch', task: task.id, list: theirs.id, data: {} }, 404, 'not_found'],
      [{ op: 'task.patch', task: uuid(), data: {} }, 404, 'not_found'],
      [{ op: 'task.create', list: theirs.id, data: { title: 'x' } }, 404, 'not_found'],
      [{ op: 'member.put', list: list.id, data: { email: 'nobody@example.org', role: 'viewer' } }, 422, 'invalid', ['/data/email']],
      [{ op: 'member.put', list: list.id, data: { account: uuid(), role: 'viewer' } }, 422, 'invalid', ['/data/account']],
      [{ op: 'account.patch', data: { password_hash: 'x' } }, 422, 'invalid', ['/data/password_hash']],
      [{ op: 'task.remind', task: task.id, data: {} }, 422, 'invalid', ['/op']],
      [{ op: 'task.succeed', list: list.id, data: {} }, 422, 'invalid', ['/op']],
      [{ op: 'token.create', data: {} }, 422, 'invalid', ['/op']],
      [{ op: 'account.create', data: {} }, 422, 'invalid', ['/op']],
      [{ op: 'task.explode', task: task.id }, 422, 'invalid', ['/op']],
      [{ op: 'list.create', data: { title: 'x' }, colour: 1 }, 422, 'invalid', ['/colour']],
    ]) {
      const id = uuid();
      const result = await run(socket, { id, ...command });
      assert.deepEqual([result.op, result.id, result.ok], ['result', id, false], JSON.stringify(command));
      const { errors, current } = problem(result.problem, status, code);
      // A pointer begins at the message.
      if (pointers) assert.deepEqual(errors.map((error) => error.pointer).sort(), pointers.map((pointer) => `/command${pointer}`).sort());
      if (status === 412) assert.deepEqual(current, task);
    }
    for (const command of [{ op: 'task.create', list: list.id, data: { title: 'x' }, id: undefined }, { id: 'nonsense', op: 'task.create' }, 7, null]) {
      socket.send({ op: 'command', ref: 'bad', command });
      const answer = await answerTo(socket, 'bad');
      assert.equal(answer.op, 'error');
      problem(answer.problem, 422, 'invalid');
      socket.messages.length = 0;
    }
    assert.equal(granted(await me.get(`/v1/lists/${list.id}`)).head, 2);
    await socket.close();
  });

  it('of more commands than one connection may have under way some are put off, and none is lost', async () => {
    const list = await me.list();
    const socket = await open();
    const ids = Array.from({ length: 700 }, uuid);
    const done = new Set();
    await waitFor(async () => {
      const left = ids.filter((id) => !done.has(id));
      const from = socket.messages.length;
      for (const id of left) socket.send({ op: 'command', command: { id, op: 'task.create', list: list.id, data: { title: 'x' } } });
      await waitFor(() => socket.messages.length - from === left.length, 'all are answered');
      for (const result of socket.messages.slice(from)) {
        if (result.ok) done.add(result.id);
        else problem(result.problem, 503, 'overloaded');
      }
      return done.size === ids.length;
    }, 'all are done');
    assert.equal(granted(await me.get(`/v1/lists/${list.id}`)).head, 701);
    await socket.close();
  });

  it('a token can do over the socket what its scopes and lists say', async () => {
    const [list, other] = [await me.list(), await me.list()];
    const socketOf = async (fields) => Socket.open(url, { token: (await tokenOf(me, fields)).token });
    const reader = await socketOf({ scopes: ['read'] });
    assert.equal((await reader.subscribe(list.id)).op, 'snapshot');
    problem((await run(reader, { op: 'task.create', list: list.id, data: { title: 'x' } })).problem, 403, 'forbidden');
    const writer = await socketOf({ scopes: ['write'] });
    problem((await writer.subscribe(list.id)).problem, 403, 'forbidden');
    const written = await run(writer, { op: 'task.create', list: list.id, data: { title: 'x' } });
    assert.deepEqual([written.ok, written.task], [true, undefined]);
    const restricted = await socketOf({ lists: [list.id] });
    assert.equal((await restricted.subscribe(list.id)).op, 'snapshot');
    for (const stream of [other.id, me.account]) problem((await restricted.subscribe(stream)).problem, 404, 'not_found');
    problem((await run(restricted, { op: 'task.create', list: other.id, data: { title: 'x' } })).problem, 404, 'not_found');
    for (const socket of [reader, writer, restricted]) {
      problem((await run(socket, { op: 'account.patch', data: { name: 'x' } })).problem, 403, 'forbidden');
      await socket.close();
    }
  });

  // --- messages ---

  it('a message that is wrong is answered with an error, and the connection goes on', async () => {
    const socket = await open();
    for (const [message, status, code, pointers] of [
      ['nonsense', 400, 'malformed'],
      ['', 400, 'malformed'],
      ['{"op":"ping"', 400, 'malformed'],
      ['{"op":"ping","op":"ping"}', 400, 'malformed'],
      ['[]', 422, 'invalid', ['']],
      ['{}', 422, 'invalid', ['/op']],
      ['{"op":7}', 422, 'invalid', ['/op']],
      ['{"op":"dance"}', 422, 'invalid', ['/op']],
      ['{"op":"ping","colour":1}', 422, 'invalid', ['/colour']],
      ['{"op":"ping","ref":{}}', 422, 'invalid', ['/ref']],
      [`{"op":"ping","ref":"${'x'.repeat(200)}"}`, 422, 'invalid', ['/ref']],
      ['{"op":"ping","ref":"a\\u0000"}', 422, 'invalid', ['/ref']],
      ['{"op":"subscribe"}', 422, 'invalid', ['/stream']],
      ['{"op":"subscribe","stream":"x"}', 422, 'invalid', ['/stream']],
      [`{"op":"subscribe","stream":"${uuid()}","after":-1}`, 422, 'invalid', ['/after']],
      [`{"op":"subscribe","stream":"${uuid()}","after":"1"}`, 422, 'invalid', ['/after']],
      [`{"op":"subscribe","stream":"${uuid()}","closed":"yes"}`, 422, 'invalid', ['/closed']],
      ['{"op":"unsubscribe"}', 422, 'invalid', ['/stream']],
      ['{"op":"command"}', 422, 'invalid', ['/command']],
      [`{"op":"ping","x":${'['.repeat(100)}${']'.repeat(100)}}`, 422, 'invalid'],
    ]) {
      socket.messages.length = 0;
      socket.send(message);
      const answer = await socket.find(() => true, `an answer to ${message}`);
      assert.equal(answer.op, 'error', message);
      problem(answer.problem, status, code, pointers);
      await lives(socket);
    }
    for (const ref of [0, -7, 'x', '"\\🌱']) {
      socket.send({ op: 'dance', ref });
      assert.equal((await answerTo(socket, ref)).op, 'error');
    }
    await socket.close();
  });

  it('a message may come in fragments, with a ping between them', async () => {
    const socket = await open();
    const text = JSON.stringify({ op: 'ping', ref: 'piece by piece 🌱' });
    const bytes = Buffer.from(text);
    let pongs = 0;
    socket.ws.on('pong', () => { pongs++; });
    bytes.forEach((_, i) => {
      socket.ws.send(bytes.subarray(i, i + 1), { fin: i === bytes.length - 1, binary: false });
      if (i === 5) socket.ws.ping('x');
    });
    await answerTo(socket, 'piece by piece 🌱');
    await waitFor(() => pongs === 1, 'a pong');
    await socket.close();
  });

  it('what is too large, not UTF-8 or binary ends the connection with the code that says so', async () => {
    const padded = (message, size) => JSON.stringify(message).padEnd(size, ' ');
    const ping = { op: 'ping', ref: 'large' };
    const socket = await open();
    socket.send(padded(ping, KIB * KIB));
    await answerTo(socket, 'large');
    socket.send(padded(ping, KIB * KIB + 1));
    assert.equal((await closed(socket)).code, 1009);
    const hello = { op: 'hello', token: me.token };
    const small = await Socket.open(url, { welcome: false });
    small.send(padded(hello, 4 * KIB));
    await small.find((message) => message.op === 'welcome', 'a welcome');
    small.send(padded(ping, 5 * KIB));
    await answerTo(small, 'large');
    const large = await Socket.open(url, { welcome: false });
    large.send(padded(hello, 4 * KIB + 1));
    assert.equal((await closed(large)).code, 1009);
    for (const [data, options, code] of [
      [Buffer.from([0x7b, 0xff, 0x7d]), { binary: false }, 1007],
      [Buffer.from([0xed, 0xa0, 0x80]), { binary: false }, 1007],
      [Buffer.from('{"op":"ping"}'), { binary: true }, 1003],
    ]) {
      const one = await open();
      one.ws.send(data, options);
      assert.equal((await closed(one)).code, code);
    }
    await small.close();
  });

  it('a client that closes is answered with its own code', async () => {
    const socket = await open();
    await socket.close(4999);
    assert.equal(socket.closed.code, 4999);
  });

  // --- the end of access ---

  it('deleting a token, logging out and a new password close the sockets of what ended with 4001, everywhere', async () => {
    const somebody = await Client.register(url);
    const list = await somebody.list();
    const login = async () => granted(await new Client(url).post('/v1/sessions', { email: somebody.email, password: somebody.password }), 201).token;
    const api = await tokenOf(somebody, {});
    const [one, two] = [await login(), await login()];
    const at = async (program, token) => {
      const socket = await Socket.open(program.url, { token });
      await socket.subscribe(list.id);
      return socket;
    };
    const pair = async (token) => [await at(first, token), await at(second, token)];
    const sockets = { stays: await pair(somebody.token), api: await pair(api.token), one: await pair(one), two: await pair(two) };
    const allClosed = async (which) => {
      for (const socket of which) assert.equal((await closed(socket, 4500)).code, 4001);
    };
    granted(await somebody.delete(`/v1/tokens/${api.id}`), 204);
    await allClosed(sockets.api);
    granted(await new Client(url, one).delete('/v1/sessions/current'), 204);
    await allClosed(sockets.one);
    granted(await somebody.patch('/v1/me', { password: 'an even better one', old_password: somebody.password }));
    await allClosed(sockets.two);
    await somebody.task(list.id);
    for (const socket of sockets.stays) {
      await eventsUpTo(socket, list.id, 2);
      await lives(socket);
      await socket.close();
    }
    for (const gone of [...sockets.api, ...sockets.one, ...sockets.two]) assert.deepEqual(gone.events(), [], 'nothing came after the end');
  });

  it('a socket ends when its token expires', async () => {
    const expires = Date.now() + 2500;
    const { token } = await tokenOf(me, { expires_at: new Date(expires).toISOString() });
    const socket = await Socket.open(url, { token });
    assert.equal((await closed(socket, 6000)).code, 4001);
    assert.ok(Date.now() >= expires - 5, 'not before its time');
  });

  // --- slow, cut and many ---

  it('a reader that is too slow is reset, resumes, and ends with the whole stream', async () => {
    const list = await me.list();
    const task = await me.task(list.id);
    const slow = await open();
    const { epoch, rev } = await slow.subscribe(list.id);
    slow.ws.pause();
    const writer = await open();
    const rounds = 320; // of 64 KiB: more than the buffers of both kernels and the ring together
    for (let i = 0; i < rounds; i += 8) {
      await Promise.all(Array.from({ length: 8 }, (_, k) =>
        run(writer, { op: 'task.patch', task: task.id, data: { notes: `${i + k}`.padEnd(64_000, 'x') } })));
    }
    slow.ws.resume();
    const reset = await slow.find((message) => message.op === 'reset', 'a reset');
    assert.equal(reset.stream, list.id);
    assert.deepEqual(Description.read('asyncapi.yaml').faults('/components/messages/reset/payload', reset), []);
    assert.ok(reset.reason.length > 0);
    const before = slow.events(list.id).map((event) => event.rev);
    assert.ok(before.length < rounds, 'it was not fed everything');
    const answer = await slow.subscribe(list.id, { after: before.at(-1) ?? rev, epoch });
    assert.equal(answer.op, 'subscribed');
    const revs = (await eventsUpTo(slow, list.id, rev + rounds)).map((event) => event.rev);
    assert.deepEqual(revs, Array.from({ length: rounds }, (_, i) => rev + 1 + i), 'each once and in order');
    assert.deepEqual(slow.events(list.id).at(-1).set.notes, granted(await me.get(`/v1/tasks/${task.id}`)).notes);
    await slow.close();
    await writer.close();
  });

  it('followers that are cut off again and again end with exactly what is stored', async (t) => {
    t.diagnostic(`TASKWIRE_SEED=${seed}`);
    const dice = random(seed);
    const lists = [await me.list(), await me.list(), await me.list()];
    const followers = [first, first, second, second].map((program, i) =>
      new Follower(program.url, me.token, lists.map((list) => list.id), { protocol: i % 2 ? MSGPACK : 'taskwire.v1.json' }));
    const tasks = [];
    const writers = [first, second].map((program) => new Client(program.url, me.token));
    try {
      for (let i = 0; i < 250; i++) {
        const writer = dice.pick(writers);
        const task = tasks.length && dice.pick(tasks);
        if (!task || dice.chance(0.3)) tasks.push(await writer.task(dice.pick(lists).id, { title: `task ${i}`, due: '2030-01-01' }));
        else if (dice.chance(0.2)) await writer.post(`/v1/tasks/${task.id}/complete`);
        else if (dice.chance(0.2)) await writer.post(`/v1/tasks/${task.id}/reopen`);
        else if (dice.chance(0.1)) await writer.delete(`/v1/tasks/${task.id}`);
        else await writer.patch(`/v1/tasks/${task.id}`, { title: `changed ${i}`, priority: dice.pick(['low', 'urgent', null]), tags: { add: [`${i % 7}`] } });
        if (dice.chance(0.05)) dice.pick(followers).ws.terminate();
      }
      const statuses = ['open', 'in_progress', 'done', 'cancelled'];
      for (const { id } of lists) {
        const { head } = granted(await me.get(`/v1/lists/${id}`));
        const stored = new Map((await readAll(me, `/v1/lists/${id}/tasks`, { status: statuses, limit: 500 })).map((task) => [task.id, task]));
        for (const follower of followers) {
          const stream = follower.streams.get(id);
          await waitFor(() => stream.rev === head, `the follower is at ${head}`);
          const live = [...stream.tasks].filter(([, task]) => task.deleted_at === null);
          assert.deepEqual(new Map(live.sort()), new Map([...stored].sort()));
        }
      }
      for (const follower of followers) assert.deepEqual(follower.faults, []);
      assert.ok(followers.some((follower) => follower.counts.resumes > 0), 'something was resumed');
    } finally {
      for (const follower of followers) follower.stop();
    }
  });
});
