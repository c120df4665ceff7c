// SPDX-License-Identifier: Apache-2.0
// What holds for every path: repeats, entity tags, errors, limits, framing, and how often one may ask.
import { describe, it, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { Bench } from '../lib/program.mjs';
import { Client, Socket, uuid } from '../lib/client.mjs';
import { granted, problem, refused } from '../lib/expect.mjs';
import { exchange, request } from '../lib/raw.mjs';
import { waitFor } from '../lib/wait.mjs';

const KIB = 1024;
const isUuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

describe('HTTP rules', { timeout: 600_000 }, () => {
  let bench;
  let url;
  let me;

  const head = async (list, who = me) => granted(await who.get(`/v1/lists/${list.id}`)).head;
  const keyed = (key = uuid()) => ({ 'Idempotency-Key': key });
  const isReplay = (answer) => answer.headers.get('idempotent-replay') === 'true';
  const auth = () => ({ Authorization: `Bearer ${me.token}` });

  before(async () => {
    bench = await Bench.start({ settings: { OUTCOME_TIMEOUT: 3 } });
    url = bench.taskwire.url;
    me = await Client.register(url);
  });
  after(() => bench?.stop());

  // --- repeats ---

  it('a repeat gives the first answer: status, ids and rev; nothing happens twice', async () => {
    const friend = await Client.register(url);
    const list = await me.list();
    const task = await me.task(list.id);
    const path = `/v1/tasks/${task.id}`;
    for (const [method, where, body] of [
      ['POST', '/v1/lists', { title: 'New' }],
      ['POST', `/v1/lists/${list.id}/tasks`, { title: 'New', tags: ['a'] }],
      ['POST', `/v1/lists/${list.id}/members`, { email: friend.email, role: 'viewer' }],
      ['PATCH', path, { title: 'Changed' }],
      ['PATCH', path, {}],
      ['POST', `${path}/complete`, { at: '2026-01-01T00:00:00Z' }],
      ['POST', `${path}/reopen`, undefined],
      ['PATCH', '/v1/me', { name: 'Changed' }],
      ['POST', '/v1/tokens', { name: 'A token', scopes: ['read'] }],
      ['DELETE', path, undefined],
    ]) {
      const key = keyed();
      const first = await me.request(method, where, body, key);
      granted(first, method === 'POST' && !/complete|reopen/.test(where) ? 201 : 200);
      const before = await head(list);
      const second = await me.request(method, where, body, key);
      const what = `${method} ${where}`;
      assert.equal(second.status, first.status, what);
      assert.ok(!isReplay(first) && isReplay(second), what);
      for (const name of ['command-id', 'command-rev', 'location']) {
        assert.equal(second.headers.get(name), first.headers.get(name), `${what}: ${name}`);
      }
      assert.equal(first.headers.get('command-id'), key['Idempotency-Key']);
      for (const id of ['id', 'account', 'list']) assert.equal(second.body[id], first.body[id], what);
      assert.equal(await head(list), before, what);
    }
  });

  it('a repeat shows the task as it reads now, with the rev that the command had', async () => {
    const list = await me.list();
    const key = keyed();
    const post = () => me.post(`/v1/lists/${list.id}/tasks`, { title: 'Before' }, key);
    const first = await post();
    const task = granted(first, 201);
    const now = granted(await me.patch(`/v1/tasks/${task.id}`, { title: 'After' }));
    const second = await post();
    assert.deepEqual(granted(second, 201), now);
    assert.equal(second.headers.get('command-rev'), first.headers.get('command-rev'));
    const made = granted(await me.post('/v1/tokens', { name: 'x', scopes: ['read', 'write'], lists: [(await me.list()).id] }), 201);
    const other = await new Client(url, made.token).post(`/v1/lists/${list.id}/tasks`, { title: 'Before' }, key);
    assert.ok(isReplay(other));
    assert.deepEqual(Object.keys(granted(other, 201)).sort(), ['id', 'list', 'rev'], 'a token for another list is not shown it');
  });

  it('a key that was used for something else is refused', async () => {
    const [list, other] = [await me.list(), await me.list()];
    const task = await me.task(list.id);
    const key = keyed();
    const path = `/v1/lists/${list.id}/tasks`;
    granted(await me.post(path, { title: 'A', tags: ['x'] }, key), 201);
    for (const attempt of [
      () => me.post(path, { title: 'B', tags: ['x'] }, key),
      () => me.post(path, { title: 'A' }, key),
      () => me.post(path, { title: 'A', tags: ['x'], notes: '' }, key),
      () => me.post(`/v1/lists/${other.id}/tasks`, { title: 'A', tags: ['x'] }, key),
      () => me.post('/v1/lists', { title: 'A' }, key),
      () => me.patch(`/v1/tasks/${task.id}`, { title: 'A', tags: ['x'] }, key),
      () => me.delete(`/v1/tasks/${task.id}`, key),
    ]) {
      refused(await attempt(), 409, 'idempotency_mismatch');
    }
    const rewritten = await me.post(path, ' { "tags" : ["\\u0078"], "title" : "\\u0041" } ', key);
    assert.ok(isReplay(rewritten), 'the same content, written differently, is the same');
  });

  it("another author's equal key is unrelated", async () => {
    const other = await Client.register(url);
    const key = keyed();
    const [a, b] = await Promise.all([me, other].map((who) => who.post('/v1/lists', { title: 'Mine' }, key)));
    assert.notEqual(granted(a, 201).id, granted(b, 201).id);
    assert.ok(!isReplay(a) && !isReplay(b));
  });

  it('a refusal is not remembered', async () => {
    const list = await me.list();
    const key = keyed();
    refused(await me.post(`/v1/lists/${list.id}/tasks`, { title: '' }, key), 422, 'invalid', ['/title']);
    refused(await me.post(`/v1/lists/${uuid()}/tasks`, { title: 'x' }, key), 404, 'not_found');
    granted(await me.post(`/v1/lists/${list.id}/tasks`, { title: 'x' }, key), 201);
  });

  it('of many equal requests at once, one happens', async () => {
    const list = await me.list();
    const key = keyed();
    const answers = await Promise.all(Array.from({ length: 12 }, () => me.post(`/v1/lists/${list.id}/tasks`, { title: 'x' }, key)));
    for (const answer of answers) assert.deepEqual(granted(answer, 201), answers[0].body);
    assert.equal(answers.filter(isReplay).length, 11);
    assert.equal(await head(list), 2);
  });

  it('without a key the server draws one, which repeats the command as well', async () => {
    const list = await me.list();
    const first = await me.post(`/v1/lists/${list.id}/tasks`, { title: 'x' });
    const id = first.headers.get('command-id');
    assert.match(id, isUuid);
    const second = await me.post(`/v1/lists/${list.id}/tasks`, { title: 'x' }, keyed(id));
    assert.ok(isReplay(second));
    assert.equal(second.body.id, first.body.id);
    for (const key of ['x', '', uuid().slice(1), `${uuid()} ${uuid()}`]) {
      refused(await me.post('/v1/lists', { title: 'x' }, keyed(key)), 400, 'malformed');
    }
  });

  it('keys are remembered over a restart, and shared by all processes', async () => {
    const key = keyed();
    const first = granted(await me.post('/v1/lists', { title: 'x' }, key), 201);
    const program = await bench.program().start();
    for (let i = 0; i < 2; i++) {
      const again = await new Client(program.url, me.token).post('/v1/lists', { title: 'x' }, key);
      assert.ok(isReplay(again));
      assert.deepEqual(again.body, first);
      if (i === 0) assert.equal((await program.stop()).code, 0);
      if (i === 0) await program.start();
    }
    await program.stop();
  });

  // --- entity tags ---

  it('what a client has already is not sent again', async () => {
    const list = await me.list();
    const task = await me.task(list.id);
    for (const path of [`/v1/tasks/${task.id}`, `/v1/lists/${list.id}`]) {
      const first = await me.get(path);
      const etag = first.headers.get('etag');
      assert.match(etag, /^"[\x21\x23-\x7e]+"$/);
      for (const known of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
        const again = await me.get(path, { 'If-None-Match': known });
        assert.equal(again.status, 304, known);
        assert.equal(again.text, '');
        assert.equal(again.headers.get('etag'), etag);
      }
      for (const unknown of ['"other"', etag.slice(1, -1), '"']) {
        assert.equal((await me.get(path, { 'If-None-Match': unknown })).text, first.text, unknown);
      }
      granted(await me.patch(`/v1/tasks/${task.id}`, { notes: uuid() }));
      const changed = await me.get(path, { 'If-None-Match': etag });
      granted(changed);
      assert.notEqual(changed.headers.get('etag'), etag);
    }
  });

  it('a write can insist on what it has seen; otherwise it is told what is there', async () => {
    const list = await me.list();
    const created = await me.post(`/v1/lists/${list.id}/tasks`, { title: 'one' });
    const path = `/v1/tasks/${created.body.id}`;
    const seen = created.headers.get('etag');
    await me.task(list.id, { title: 'something else in the list' });
    const patched = await me.patch(path, { title: 'two' }, { 'If-Match': seen });
    const now = granted(patched);
    const before = await head(list);
    for (const tag of [seen, `W/${patched.headers.get('etag')}`, '"other"', 'nonsense', '']) {
      const answer = await me.patch(path, { title: 'three' }, { 'If-Match': tag });
      assert.deepEqual(refused(answer, 412, 'precondition_failed').current, now, tag);
    }
    for (const attempt of [(h) => me.delete(path, h), (h) => me.post(`${path}/complete`, {}, h), (h) => me.post(`${path}/reopen`, {}, h)]) {
      refused(await attempt({ 'If-Match': seen }), 412, 'precondition_failed');
    }
    assert.equal(await head(list), before, 'none of them did anything');
    granted(await me.patch(path, { title: 'three' }, { 'If-Match': `"other", ${patched.headers.get('etag')}` }));
    granted(await me.patch(path, { title: 'four' }, { 'If-Match': '*' }));
    refused(await me.patch(`/v1/tasks/${uuid()}`, { title: 'x' }, { 'If-Match': '*' }), 404, 'not_found');
  });

  it('of two who change the same thing from the same state, one is told', async () => {
    const list = await me.list();
    const created = await me.post(`/v1/lists/${list.id}/tasks`, { title: 'one' });
    const answers = await Promise.all(['a', 'b', 'c', 'd'].map((title) =>
      me.patch(`/v1/tasks/${created.body.id}`, { title }, { 'If-Match': created.headers.get('etag') })));
    assert.deepEqual(answers.map((answer) => answer.status).sort(), [200, 412, 412, 412]);
  });

  // --- waiting for a revision ---

  it('a read waits until a revision is visible', async () => {
    const list = await me.list();
    granted(await me.get(`/v1/lists/${list.id}?min_rev=1`));
    for (const path of ['', '/tasks', '/members', '/events']) {
      const wanted = await head(list) + 1;
      const waiting = me.get(`/v1/lists/${list.id}${path}?min_rev=${wanted}`);
      const early = await Promise.race([waiting, head(list).then(() => null)]);
      assert.equal(early, null, 'it waits');
      const task = await me.task(list.id);
      const answer = granted(await waiting);
      if (path === '/tasks') assert.ok(answer.items.some((item) => item.id === task.id));
      if (path === '') assert.equal(answer.head, wanted);
    }
    for (const value of ['0', '-1', 'x', '', '1&min_rev=2']) {
      refused(await me.get(`/v1/lists/${list.id}?min_rev=${value}`), 400, 'malformed');
    }
    refused(await me.get(`/v1/lists?min_rev=1`), 400, 'malformed');
    refused(await me.get(`/v1/lists/${uuid()}?min_rev=5`), 404, 'not_found');
  });

  it('a revision that does not come is unavailable after five seconds', async () => {
    const list = await me.list();
    const started = performance.now();
    refused(await me.get(`/v1/lists/${list.id}?min_rev=2`), 503, 'unavailable');
    const waited = performance.now() - started;
    assert.ok(waited >= 4900 && waited < 10_000, `${waited} ms`);
  });

  // --- bodies ---

  it('a body that is no JSON is malformed', async () => {
    for (const body of ['', '{', '{"title": "x"', '{"title": "x"}}', '{"title": "x"} {}', "{'title': 'x'}", '{"title": "x",}', '{title: "x"}',
      '{"title": "x" "notes": ""}', '{"title": nope}', '{"title": "\\x"}', '{"title": "\\ud800"}', '{"title": "a\tb"}', '{"title": 01}',
      '{"title": NaN}', '// a comment', '{"title": "x", "title": "y"}', '{"title": "x", "\\u0074itle": "y"}', '\ufeff{"title": "x"}']) {
      refused(await me.post('/v1/lists', body, { 'Content-Type': 'application/json' }), 400, 'malformed');
    }
    for (const bytes of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x82]]) {
      const body = Buffer.concat([Buffer.from('{"title": "'), Buffer.from(bytes), Buffer.from('"}')]);
      refused(await me.post('/v1/lists', body), 400, 'malformed');
    }
  });

  it('a body whose values are out of bounds is invalid', async () => {
    const deep = (n) => '['.repeat(n) + ']'.repeat(n);
    for (const [body, ...pointers] of [
      ['{"title": "a\\u0000b"}', '/title'],
      ['{"a\\u0000b": 1}', ''],
      ['[]', ''], ['"x"', ''], ['7', ''], ['null', ''], ['true', ''],
      ['{"title": {"x": 1}}', '/title'],
      ['{"title": 1e999}', '/title'],
      ['{"title": "x", "n": 12345678901234567890123}', '/n'],
      ['{"title": "x", "colour": 1, "shape": 2}', '/colour', '/shape'],
      [JSON.stringify({ title: 'x'.repeat(300 * KIB) }), '/title'],
    ]) {
      const answer = await me.post('/v1/lists', body);
      const { errors } = refused(answer, 422, 'invalid');
      if (pointers[0] !== '') assert.deepEqual(errors.map((error) => error.pointer), pointers, body.slice(0, 80));
    }
    for (const body of [`{"title": "x", "n": ${deep(16)}}`, deep(1000), `{"title": "x", "n": [${'1,'.repeat(70_000)}1]}`]) {
      refused(await me.post('/v1/lists', body), 422, 'invalid');
    }
  });

  it('a body has at most 1 MiB', async () => {
    const title = 'x';
    const pad = (size) => JSON.stringify({ title }).padEnd(size, ' ');
    granted(await me.post('/v1/lists', pad(KIB * KIB)), 201);
    refused(await me.post('/v1/lists', pad(KIB * KIB + 1)), 413, 'too_large');
    for (const length of ['1048577', '99999999999999999999999999']) {
      const announced = request('POST', '/v1/lists', { headers: { ...auth(), 'Content-Type': 'application/json', 'Content-Length': length } });
      const { answers } = await exchange(url, announced);
      refused(answers[0], 413, 'too_large');
    }
  });

  it('headers have at most 16 KiB', async () => {
    const padded = (size) => {
      const rest = request('GET', '/healthz', { headers: { 'X-Padding': '' } }).length;
      return request('GET', '/healthz', { headers: { 'X-Padding': 'x'.repeat(size - rest) } });
    };
    const [fits, isTooLarge] = [padded(16 * KIB), padded(16 * KIB + 1)];
    assert.equal(fits.length, 16 * KIB);
    assert.equal((await exchange(url, fits)).answers[0].status, 200);
    problem((await exchange(url, isTooLarge)).answers[0].body, 431, 'too_large');
    const endless = `GET /healthz HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(20 * KIB)}`;
    problem((await exchange(url, endless)).answers[0].body, 431, 'too_large');
    const many = request('GET', '/healthz', { headers: Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`X-${i}`, '1'])) });
    problem((await exchange(url, many)).answers[0].body, 431, 'too_large');
  });

  it('a body is JSON by name; a patch may also be a merge patch', async () => {
    const list = await me.list();
    const task = await me.task(list.id);
    const body = JSON.stringify({ title: 'x' });
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/jsonp', 'application/msgpack', '', 'json']) {
      refused(await me.post('/v1/lists', body, { 'Content-Type': type }), 415, 'unsupported_media_type');
      refused(await me.patch(`/v1/tasks/${task.id}`, body, { 'Content-Type': type }), 415, 'unsupported_media_type');
    }
    for (const type of ['application/json', 'Application/JSON; charset=utf-8', 'application/json ;charset=UTF-8']) {
      granted(await me.post('/v1/lists', body, { 'Content-Type': type }), 201);
    }
    granted(await me.patch(`/v1/tasks/${task.id}`, body, { 'Content-Type': 'application/merge-patch+json' }));
    refused(await me.post('/v1/lists', body, { 'Content-Type': 'application/merge-patch+json' }), 415, 'unsupported_media_type');
  });

  // --- paths and methods ---

  it('an unknown path is 404, a known path without that method 405 with what it knows', async () => {
    const list = await me.list();
    const task = await me.task(list.id);
    for (const path of ['/', '/v1', '/v1/', '/v1/nothing', '/v1/lists/', '/V1/lists', '//v1/lists', '/v1//lists', '/v1/lists/nonsense',
      `/v1/lists/${list.id}/`, `/v1/lists/${list.id}/nothing`, `/v1/lists/${list.id}x`, `/v1/tasks/${task.id}/finish`, '/v2/lists',
      '/v1/../v1/lists', '/metrics', '/actors', '/favicon.ico']) {
      const { answers } = await exchange(url, request('GET', path, { headers: auth() }));
      refused(answers[0], 404, 'not_found');
    }
    for (const [method, path, allowed] of [
      ['DELETE', '/v1/lists', 'GET, HEAD, POST'],
      ['PUT', '/v1/lists', 'GET, HEAD, POST'],
      ['POST', `/v1/lists/${list.id}`, 'DELETE, GET, HEAD, PATCH'],
      ['GET', '/v1/accounts', 'POST'],
      ['GET', `/v1/tasks/${task.id}/complete`, 'POST'],
      ['POST', `/v1/tasks/${task.id}`, 'DELETE, GET, HEAD, PATCH'],
      ['BREW', '/v1/me', 'DELETE, GET, HEAD, PATCH'],
      ['POST', '/healthz', 'GET, HEAD'],
    ]) {
      const { answers } = await exchange(url, request(method, path, { headers: auth() }));
      refused(answers[0], 405, 'method_not_allowed');
      const listed = answers[0].headers.get('allow').split(', ').filter((name) => name !== 'OPTIONS');
      assert.equal(listed.sort().join(', '), allowed, `${method} ${path}`);
    }
  });

  it('percent-encoding does not make another path, and ids may be in upper case', async () => {
    const list = await me.list();
    granted(await me.get(`/v1/lists/${list.id.toUpperCase()}`));
    for (const path of ['/v1%2flists', '/v1/%6cists%2f', '/v1/lists%00']) {
      const { answers } = await exchange(url, request('GET', path, { headers: auth() }));
      assert.ok([400, 404].includes(answers[0].status), `${path}: ${answers[0].status}`);
    }
  });

  it('an unknown query parameter is malformed, on reads and on writes', async () => {
    const list = await me.list();
    const task = await me.task(list.id);
    for (const attempt of [
      () => me.get('/v1/me?x=1'), () => me.get(`/v1/tasks/${task.id}?min_rev=1`), () => me.get(`/v1/lists/${list.id}?x`),
      () => me.post('/v1/lists?x=1', { title: 'x' }), () => me.patch(`/v1/tasks/${task.id}?x=1`, { title: 'x' }),
      () => me.delete(`/v1/tasks/${task.id}?force=1`), () => me.get('/healthz?x=1'), () => new Client(url).post('/v1/sessions?x=1', {}),
    ]) {
      refused(await attempt(), 400, 'malformed');
    }
    granted(await me.get(`/v1/lists/${list.id}/tasks?`));
    granted(await me.get(`/v1/lists/${list.id}/tasks?&&limit=1&`));
  });

  it('HEAD answers like GET, without the body', async () => {
    const list = await me.list();
    for (const path of [`/v1/lists/${list.id}`, '/v1/lists', '/healthz', `/v1/lists/${uuid()}`]) {
      const get = await me.get(path);
      const answer = await me.request('HEAD', path);
      assert.equal(answer.status, get.status);
      assert.equal(answer.text, '');
      for (const name of ['content-type', 'etag']) assert.equal(answer.headers.get(name), get.headers.get(name), name);
      if (get.status === 200) assert.equal(answer.headers.get('content-length'), String(Buffer.byteLength(get.text)));
    }
  });

  it('every answer has a Request-Id of its own, and is not to be cached', async () => {
    const list = await me.list();
    const answers = [
      await me.get('/v1/lists'), await me.get('/v1/nothing'), await me.post('/v1/lists', '{'), await new Client(url).get('/v1/me'),
      await me.get('/healthz'), await me.request('OPTIONS', '/v1/lists'), (await exchange(url, 'nonsense\r\n\r\n')).answers[0],
      await me.get(`/v1/lists/${list.id}`, { 'If-None-Match': '*' }), await me.get('/v1/ws'),
      await me.get('/v1/lists', { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' }),
      await me.get('/v1/lists', { traceparent: 'nonsense' }),
    ];
    const ids = answers.map((answer) => answer.headers.get('request-id'));
    assert.ok(ids.every((id) => id?.length >= 8), ids.join(' '));
    assert.equal(new Set(ids).size, ids.length);
    for (const answer of answers) assert.equal(answer.headers.get('cache-control'), 'no-store');
    assert.ok(answers[1].text.includes(ids[1]), 'a problem names the request');
  });

  it('the descriptions of the interface can be read by anyone', async () => {
    for (const [path, first] of [['/openapi.yaml', 'openapi: 3'], ['/asyncapi.yaml', 'asyncapi: ']]) {
      const answer = await new Client(url).get(path);
      assert.match(granted(answer) ?? answer.text, new RegExp(`^${first}`, 'm'));
    }
  });

  // --- framing ---

  it('what could smuggle a request past a proxy is refused, and the connection ends', async () => {
    const after = 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n';
    for (const [bytes, status] of [
      ['nonsense\r\n\r\n', 400],
      ['GET /healthz\r\n\r\n', 400],
      ['GET  /healthz HTTP/1.1\r\nHost: x\r\n\r\n', 400],
      ['GET /healthz HTTP/2.0\r\nHost: x\r\n\r\n', 505],
      ['GET /healthz HTTP/1.1\r\n\r\n', 400],
      ['GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 400],
      ['GET /healthz HTTP/1.1\nHost: x\n\n', 400],
      ['GET /healthz HTTP/1.1\r\nHost: x\r\nX : y\r\n\r\n', 400],
      ['GET /healthz HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n', 400],
      ['GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n', 400],
      ['GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n', 400],
      ['GET /healthz HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n', 400],
      ['GET healthz HTTP/1.1\r\nHost: x\r\n\r\n', 400],
      ['GET /a b HTTP/1.1\r\nHost: x\r\n\r\n', 400],
      ['GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n', 400],
      ['POST /v1/lists HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello', 400],
      ['POST /v1/lists HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello', 400],
      ['POST /v1/lists HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400],
      ['POST /v1/lists HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 411],
      ['POST /v1/lists HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\nContent-Length: 2\r\n\r\n{}', 417],
    ]) {
      const { answers } = await exchange(url, bytes + after);
      assert.equal(answers.length, 1, `${JSON.stringify(bytes)}: ${answers.length} answers`);
      problem(answers[0].body, status, 'malformed');
      assert.match(answers[0].headers.get('connection'), /close/);
    }
  });

  it('requests that are sent ahead are answered in order', async () => {
    const keep = { Connection: 'keep-alive', ...auth() };
    const paths = ['/v1/me', '/healthz', '/v1/nothing', '/v1/lists?limit=1', '/healthz'];
    const text = paths.map((path, i) => request(i === 1 ? 'HEAD' : 'GET', path, { headers: i < 4 ? keep : {} })).join('');
    const { answers } = await exchange(url, text, ['GET', 'HEAD']);
    assert.deepEqual(answers.map((answer) => answer.status), [200, 200, 404, 200, 200]);
    assert.equal(answers[0].body.id, me.account);
    assert.ok('items' in answers[3].body);
  });

  it('a request may come byte by byte, in the form for a proxy, or by HTTP/1.0', async () => {
    const body = JSON.stringify({ title: 'Piece by piece' });
    const bytes = request('POST', '/v1/lists', { headers: { ...auth(), 'Content-Type': 'application/json' }, body });
    const { answers } = await exchange(url, [...bytes]);
    assert.equal(granted(answers[0], 201).title, 'Piece by piece');
    const proxied = await exchange(url, request('GET', `http://taskwire.test/v1/me`, { headers: auth() }));
    granted(proxied.answers[0]);
    const old = await exchange(url, request('GET', '/v1/me', { headers: { ...auth(), Host: null, Connection: null }, version: '1.0' }));
    granted(old.answers[0]);
  });

  it('a client that asks is told to go on with its body', async () => {
    const headers = { ...auth(), 'Content-Type': 'application/json', Expect: '100-continue', 'Content-Length': 13 };
    const parts = [request('POST', '/v1/lists', { headers }), /^HTTP\/1\.1 100 Continue\r\n\r\n$/, '{"title":"x"}'];
    const { answers } = await exchange(url, parts);
    granted(answers[0], 201);
  });

  it('a cursor of the history before a restore is refused, and says so', async () => {
    const other = await bench.program({}, await bench.database('restored')).start();
    const somebody = await Client.register(other.url);
    for (let i = 0; i < 3; i++) await somebody.list();
    const page = (cursor) => somebody.get(`/v1/lists?limit=1${cursor ? `&cursor=${cursor}` : ''}`);
    const { next } = granted(await page());
    granted(await page(next));
    await bench.cluster.query("UPDATE log_epoch SET epoch = substr(md5('another'), 1, 16), mac_key = sha256('another')", 'restored');
    const answer = await waitFor(async () => {
      const late = await page(next);
      return late.status !== 200 && late;
    }, 'it notices');
    assert.match(refused(answer, 400, 'malformed').detail, /cursor.*restored/);
    granted(await page(granted(await page()).next));
    await other.stop();
  });

  // --- how often one may ask ---

  describe('rate limits', () => {
    let limited;

    before(async () => {
      limited = await bench.program({ RATE_LIMIT: 5, RATE_LIMIT_ANONYMOUS: 2, TRUSTED_PROXIES: '127.0.0.1', GATEWAYS: 2 }).start();
    });

    // Asks so often at once; answers how many got through, and how many may have: what a burst has, and what is added
    // each second, as long as it took.
    async function burst(n, rate, ask) {
      const started = performance.now();
      const answers = await Promise.all(Array.from({ length: n }, (_, i) => ask(i)));
      const most = 2 * rate + Math.ceil(rate * (performance.now() - started) / 1000);
      const good = answers.filter((answer) => answer.status !== 429);
      for (const answer of answers) {
        if (answer.status === 429) refused(answer, 429, 'rate_limited');
      }
      return { n: good.length, least: 2 * rate, most };
    }
    const within = ({ n, least, most }) => assert.ok(n >= least && n <= most, `${n} got through; ${least} to ${most} may`);

    it('a token may ask so often, and again a little later; others are not concerned', async () => {
      const [mine, other] = (await Promise.all([Client.register(url), Client.register(url)])).map((who) => new Client(limited.url, who.token));
      within(await burst(60, 5, () => mine.get('/v1/lists?limit=1')));
      granted(await other.get('/v1/lists?limit=1'));
      await waitFor(async () => (await mine.get('/v1/lists?limit=1')).status === 200, 'it may ask again');
    });

    it('without a token one is counted by address, a network of IPv6 as one; a wrong token counts too', async () => {
      const from = (address, token) => new Client(limited.url, token).get('/v1/lists', { 'X-Forwarded-For': address });
      within(await burst(40, 2, () => from('198.51.100.1')));
      within(await burst(40, 2, () => from('198.51.100.2', `${me.token.slice(0, -3)}xyz`)));
      refused(await from('198.51.100.3'), 401, 'unauthenticated');
      within(await burst(40, 2, (i) => from(`2001:db8:0:1:${i}::1`)));
      refused(await from('2001:db8:0:2::1'), 401, 'unauthenticated');
      granted(await from('198.51.100.1', (await Client.register(url)).token));
    });

    it('probes are never limited', async () => {
      assert.equal((await burst(40, 2, () => new Client(limited.url).get('/healthz'))).n, 40);
    });

    it('each command of a bulk counts; a bulk that is refused changes nothing, and is granted when its time has come', async () => {
      const somebody = await Client.register(url);
      const list = await somebody.list();
      const mine = new Client(limited.url, somebody.token);
      const bulk = (n) => ({ commands: Array.from({ length: n }, () => ({ id: uuid(), op: 'task.create', list: list.id, data: { title: 'x' } })) });
      const results = (answer) => granted(answer).results.filter((result) => result.ok).length;
      assert.equal(results(await mine.post('/v1/commands', bulk(8))), 8);
      const second = bulk(8);
      const started = performance.now();
      const answer = await mine.post('/v1/commands', second);
      refused(answer, 429, 'rate_limited');
      assert.equal(await head(list, somebody), 9, 'nothing was applied');
      const wait = Number(answer.headers.get('retry-after')) * 1000;
      await waitFor(() => performance.now() - started > wait + 20, 'it is time');
      assert.equal(results(await mine.post('/v1/commands', second)), 8);
      // More than a burst has to be granted some time, too: but then nothing else for long.
      const large = new Client(limited.url, (await Client.register(url)).token);
      const own = await new Client(url, large.token).list();
      const many = Array.from({ length: 100 }, () => ({ id: uuid(), op: 'task.create', list: own.id, data: { title: 'x' } }));
      assert.equal(results(await large.post('/v1/commands', { commands: many })), 100);
      const next = await large.get('/v1/lists');
      refused(next, 429, 'rate_limited');
      assert.ok(Number(next.headers.get('retry-after')) > 10, next.headers.get('retry-after'));
    });

    it('commands over a socket count as well, and do not end it', async () => {
      const somebody = await Client.register(url);
      const list = await somebody.list();
      const socket = await Socket.open(limited.url, { token: somebody.token });
      const ids = Array.from({ length: 40 }, uuid);
      const started = performance.now();
      for (const id of ids) socket.send({ op: 'command', command: { id, op: 'task.create', list: list.id, data: { title: 'x' } } });
      const results = await waitFor(() => {
        const all = socket.messages.filter((message) => message.op === 'result');
        return all.length === 40 && all;
      }, 'all are answered');
      const bad = results.filter((result) => !result.ok);
      within({ n: 40 - bad.length, least: 10, most: 10 + Math.ceil(5 * (performance.now() - started) / 1000) });
      for (const result of bad) problem(result.problem, 429, 'rate_limited');
      assert.equal(await head(list, somebody), 41 - bad.length);
      await socket.close();
    });
  });
});
