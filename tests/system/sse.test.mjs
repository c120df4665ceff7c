// SPDX-License-Identifier: Apache-2.0
// Server-sent events: who may read, where one begins, that a stream comes whole, in order and once, and how it ends.
import { describe, it, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { EventSource } from 'eventsource';
import { Bench } from '../lib/program.mjs';
import { Client, uuid } from '../lib/client.mjs';
import { Feed } from '../lib/feed.mjs';
import { granted, problem } from '../lib/expect.mjs';
import { readAll } from '../lib/pages.mjs';
import { exchange, request } from '../lib/raw.mjs';
import { waitFor } from '../lib/wait.mjs';

describe('Server-sent events', { timeout: 600_000 }, () => {
  let bench;
  let url;
  let me;

  const pathOf = (list, query = '') => `/v1/lists/${list}/events${query}`;
  const open = (path, options) => Feed.open(url, path, { token: me.token, ...options });
  const epochOf = async (list) => granted(await me.get(pathOf(list))).epoch;

  before(async () => {
    bench = await Bench.start({ settings: { GATEWAYS: 2, ALLOWED_ORIGINS: 'https://app.example.org' } });
    ({ url } = bench.taskwire);
    me = await Client.register(url);
  });
  after(() => bench?.stop());

  it('behind a position every event comes, then live ones, just as in the log', async () => {
    const list = await me.list();
    for (let i = 0; i < 3; i++) await me.task(list.id, { title: `Zürich "${i}"`, notes: 'a\r\nb\n\n'.repeat(i * 3000) });
    const epoch = await epochOf(list.id);
    const feed = await open(pathOf(list.id, `?after=1&epoch=${epoch}`));
    assert.equal(feed.status, 200);
    assert.equal(feed.headers['content-type'], 'text/event-stream');
    assert.equal(feed.headers['cache-control'], 'no-store');
    await feed.upTo(4);
    await me.task(list.id);
    const events = await feed.upTo(5);
    const log = await readAll(me, pathOf(list.id), { after: 1 });
    assert.deepEqual(events, log.map(({ was, after: whole, ...event }) =>
      ({ id: `${epoch}:${event.rev}`, event: event.type, data: event })));
    assert.equal(feed.blocks[0].id, `${epoch}:1`);
    assert.ok(Number(feed.blocks[0].retry) > 0);
    feed.close();
  });

  it('without a position it begins now, and says where that is', async () => {
    const list = await me.list();
    await me.task(list.id);
    const feed = await open(pathOf(list.id));
    await feed.find((block) => block.id !== undefined, 'the start');
    assert.equal(feed.lastId, `${await epochOf(list.id)}:2`);
    await me.task(list.id);
    assert.deepEqual((await feed.upTo(3)).map((event) => event.data.rev), [3]);
    feed.close();
    const resumed = await open(pathOf(list.id, '?after=0'), { headers: { 'Last-Event-ID': feed.blocks[0].id } });
    assert.deepEqual((await resumed.upTo(3)).map((event) => event.data.rev), [3], 'Last-Event-ID stands above the address');
    resumed.close();
  });

  it('an account reads its own stream', async () => {
    const friend = await Client.register(url);
    const feed = await Feed.open(url, '/v1/me/events?after=0', { token: friend.token });
    await feed.upTo(1);
    const list = await me.list();
    granted(await me.post(`/v1/lists/${list.id}/members`, { email: friend.email, role: 'viewer' }), 201);
    const joined = await feed.find((block) => block.event === 'list.joined', 'the invitation');
    assert.equal(joined.data.set.list, list.id);
    feed.close();
    assert.ok(feed.blocks.every((block) => block.data === undefined || block.data.stream === friend.account));
  });

  it('a position that cannot be resumed is 410, one that is none 400', async () => {
    const list = await me.list();
    const epoch = await epochOf(list.id);
    for (const [query, headers] of [[`?after=2&epoch=${epoch}`], ['?after=1&epoch=0123456789abcdef'], ['?after=1&epoch=x'],
      ['', { 'Last-Event-ID': `${epoch}:2` }], ['', { 'Last-Event-ID': `${epoch}:999999999999999999` }], ['', { 'Last-Event-ID': '0123456789abcdef:1' }]]) {
      problem((await open(pathOf(list.id, query), { headers })).body, 410, 'resync_required');
    }
    for (const [query, headers] of [['?after=x'], ['?after=-1'], ['?limit=5'], ['?min_rev=1'], ['?nonsense=1'], ...['x', '1', ':', `${epoch}:`, `${epoch}:x`,
      `${epoch}:-1`, `${epoch}:1 `.repeat(3), `${epoch}:${'9'.repeat(30)}`].map((id) => ['', { 'Last-Event-ID': id }])]) {
      problem((await open(pathOf(list.id, query), { headers })).body, 400, 'malformed');
    }
  });

  it('who may not read is refused as over HTTP', async () => {
    const list = await me.list();
    const stranger = await Client.register(url);
    problem((await Feed.open(url, pathOf(list.id))).body, 401, 'unauthenticated');
    problem((await Feed.open(url, pathOf(list.id), { token: 'nonsense' })).body, 401, 'unauthenticated');
    for (const id of [list.id, uuid()]) problem((await Feed.open(url, pathOf(id), { token: stranger.token })).body, 404, 'not_found');
    const tokenFor = async (fields) => granted(await me.post('/v1/tokens', { name: 'x', scopes: ['read'], ...fields }), 201).token;
    problem((await open(pathOf(list.id), { token: await tokenFor({ scopes: ['write'] }) })).body, 403, 'forbidden');
    const only = await tokenFor({ lists: [list.id] });
    const feed = await open(pathOf(list.id), { token: only });
    assert.equal(feed.status, 200);
    feed.close();
    problem((await open(pathOf((await me.list()).id), { token: only })).body, 404, 'not_found');
    problem((await open('/v1/me/events', { token: only })).body, 403, 'forbidden');
  });

  it('a page reads by cookie, if it is of an origin that is allowed', async () => {
    const list = await me.list();
    const login = await new Client(url).post('/v1/sessions', { email: me.email, password: me.password });
    const Cookie = login.headers.get('set-cookie').split(';')[0];
    for (const origin of [{}, { Origin: url }, { Origin: 'https://app.example.org' }]) {
      const feed = await Feed.open(url, pathOf(list.id), { headers: { Cookie, ...origin } });
      assert.equal(feed.status, 200);
      feed.close();
    }
    for (const Origin of ['https://evil.example', 'null']) {
      problem((await Feed.open(url, pathOf(list.id), { headers: { Cookie, Origin } })).body, 403, 'forbidden');
    }
  });

  it('when access ends the stream says so and ends', async () => {
    const friend = await Client.register(url);
    const list = await me.list();
    granted(await me.post(`/v1/lists/${list.id}/members`, { email: friend.email, role: 'viewer' }), 201);
    const { id, token } = granted(await me.post('/v1/tokens', { name: 'x', scopes: ['read'] }), 201);
    const [feed, mine] = [await Feed.open(url, pathOf(list.id), { token: friend.token }), await open(pathOf(list.id), { token })];
    const socket = await me.socket();
    socket.send({ op: 'command', ref: 1, command: { id: uuid(), op: 'member.remove', list: list.id, data: { account: friend.account } } });
    if ((await socket.find((message) => message.ref === 1, 'a result')).ok) {
      await me.task(list.id);
      assert.deepEqual((await feed.find((block) => block.event === 'removed', 'removed')).data, { stream: list.id });
      await feed.over();
      assert.ok(!feed.blocks.some((block) => block.event === 'task.created'));
    }
    await me.delete(`/v1/tokens/${id}`);
    assert.equal((await mine.find((block) => block.event === 'closed', 'closed')).data.code, 4001);
    await mine.over();
    await socket.close();
    feed.close();
  });

  it('HTTP/1.0 gets it as it comes, HEAD and POST get what they always do', async () => {
    const list = await me.list();
    const Authorization = `Bearer ${me.token}`;
    const { hostname, port } = new URL(url);
    const socket = connect({ host: hostname, port });
    let text = '';
    socket.on('data', (bytes) => { text += bytes; });
    socket.write(request('GET', pathOf(list.id, '?after=0'), { version: '1.0', headers: { Authorization, Accept: 'text/event-stream' } }));
    await waitFor(() => text.includes('event: list.created\n'), 'the event');
    assert.ok(!/transfer-encoding|content-length/i.test(text));
    assert.match(text, /\r\n\r\nretry: \d+\nid: [^\n]+:0\n\nid: /);
    socket.destroy();
    const { answers } = await exchange(url, request('HEAD', pathOf(list.id), { headers: { Authorization, Accept: 'text/event-stream' } }), ['HEAD']);
    assert.equal(answers[0].status, 200);
  });

  it('a long stream comes whole to a slow reader', async () => {
    const list = await me.list();
    const writer = await me.socket();
    const n = 600;
    for (let i = 0; i < n; i++) {
      writer.send({ op: 'command', command: { id: uuid(), op: 'task.create', list: list.id, task: uuid(), data: { title: `${i}`, notes: 'x'.repeat(10_000) } } });
      if (i % 100 === 99) await waitFor(() => writer.messages.filter((message) => message.ok).length > i, 'the tasks are there');
    }
    const feed = await open(pathOf(list.id, '?after=0'));
    feed.response.pause();
    await me.task(list.id);
    feed.response.resume();
    const events = await feed.upTo(n + 2);
    assert.deepEqual(events.map((event) => event.data.rev), Array.from({ length: n + 2 }, (_, i) => i + 1));
    feed.close();
    await writer.close();
  });

  it('a client that goes away is noticed', async () => {
    const list = await me.list();
    const streams = () => bench.taskwire.metric('taskwire_event_streams');
    await waitFor(async () => (await streams()) === 0, 'no event stream is open');
    const feeds = await Promise.all(Array.from({ length: 20 }, () => open(pathOf(list.id))));
    await waitFor(async () => (await streams()) === 20, 'all are open');
    for (const feed of feeds) feed.close();
    await waitFor(async () => (await streams()) === 0, 'all are gone');
  });

  it('a browser resumes by itself across a restart, and misses nothing', async () => {
    const list = await me.list();
    const fetchWithToken = (input, init) => fetch(input, { ...init, headers: { ...init.headers, Authorization: `Bearer ${me.token}` } });
    const source = new EventSource(url + pathOf(list.id, '?after=0'), { fetch: fetchWithToken });
    const seen = [];
    const closed = [];
    for (const type of ['list.created', 'task.created']) source.addEventListener(type, (event) => seen.push(JSON.parse(event.data).rev));
    source.addEventListener('closed', (event) => closed.push(JSON.parse(event.data)));
    try {
      await me.task(list.id);
      await waitFor(() => seen.length === 2, 'the events before');
      await bench.taskwire.stop();
      assert.deepEqual(closed.map((data) => data.code), [1012]);
      await bench.taskwire.start();
      for (let i = 0; i < 3; i++) await me.task(list.id);
      await waitFor(() => seen.length >= 5, 'the events behind', 30_000);
      assert.deepEqual(seen, [1, 2, 3, 4, 5]);
    } finally {
      source.close();
    }
  });
});
