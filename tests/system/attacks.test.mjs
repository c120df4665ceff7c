// SPDX-License-Identifier: Apache-2.0
// What somebody sends who means harm, beside what http_rules and websocket have of it: each is refused or let go, has no
// effect, and the program serves others as if nothing had been.
import { describe, it, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { Bench } from '../lib/program.mjs';
import { Client, uuid } from '../lib/client.mjs';
import { granted, problem, refused } from '../lib/expect.mjs';
import { exchange, request } from '../lib/raw.mjs';
import { waitFor } from '../lib/wait.mjs';

const KIB = 1024;

describe('attacks', { timeout: 600_000 }, () => {
  let bench;
  let url;
  let me;
  let list;

  before(async () => {
    bench = await Bench.start();
    url = bench.taskwire.url;
    me = await Client.register(url);
    list = await me.list();
  });
  after(() => bench?.stop());

  const auth = () => `Authorization: Bearer ${me.token}\r\n`;
  const lists = async () => granted(await me.get('/v1/lists?limit=500')).items.length;

  // --- framing ---

  it('no second request can be hidden in a first one', async () => {
    const body = '{"title":"Smuggled"}';
    const hidden = `POST /v1/lists HTTP/1.1\r\nHost: x\r\n${auth()}Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    const n = await lists();
    for (const lines of [
      'Content-Length: 0\r\nTransfer-Encoding: chunked', 'Transfer-Encoding: chunked\r\nContent-Length: 0',
      'Content-Length: 5\r\nTransfer-Encoding: identity', 'Transfer-Encoding: xchunked', 'Transfer-Encoding: chunked, identity',
      'Transfer-Encoding: \tchunked', 'Transfer-Encoding : chunked\r\nContent-Length: 0', ' Transfer-Encoding: chunked\r\nContent-Length: 0',
      'X: y\r\n\tTransfer-Encoding: chunked\r\nContent-Length: 0', 'Transfer-Encoding:\r\n chunked\r\nContent-Length: 0',
      'Content-Length: 0\r\nContent-Length: 9', 'Content-Length: 0, 9', 'Content-Length: -1', 'Content-Length: 0x0', 'Content-Length: 1e1',
      'Content-Length: ', 'Content-Length: 18446744073709551616', 'Content-Length: 99999999999999999999999', 'Content-Length: 0\nX: y',
      'X: y\rContent-Length: 0', 'X: y\0\r\nContent-Length: 0', 'Content-Length\0: 0', 'Content Length: 0', 'X: y\n\r\nContent-Length: 0',
    ]) {
      const { answers } = await exchange(url, `POST /healthz HTTP/1.1\r\nHost: x\r\n${lines}\r\n\r\n${hidden}`);
      assert.equal(answers.length, 1, JSON.stringify(lines));
      assert.ok([400, 411, 413, 501].includes(answers[0].status), `${JSON.stringify(lines)}: ${answers[0].status}`);
      assert.match(answers[0].headers.get('connection'), /close/);
    }
    const inBody = await exchange(url, `POST /v1/accounts HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${hidden.length}\r\n\r\n${hidden}`);
    assert.equal(inBody.answers.length, 1, 'a body is no request');
    assert.equal(await lists(), n);
  });

  it('what has no end is ended: lines, heads, names, queries, blank lines', async () => {
    const long = 'x'.repeat(64 * KIB);
    for (const start of [long, `GET /${long}`, `GET /?${long}`, `GET / HTTP/1.1\r\n${long}`, `GET / HTTP/1.1\r\nX: ${long}`,
      `GET / HTTP/1.1\r\n${'X: y\r\n'.repeat(8 * KIB)}`]) {
      const { answers } = await exchange(url, start).catch((error) => {
        assert.equal(error.code, 'ECONNRESET');
        return { answers: [] };
      });
      for (const answer of answers) assert.ok([400, 414, 431].includes(answer.status), `${answer.status}`);
    }
    const huge = await exchange(url, `POST /v1/lists HTTP/1.1\r\nHost: x\r\n${auth()}Content-Length: 9007199254740993\r\n\r\n{`);
    problem(huge.answers[0].body, 413, 'too_large');
    granted(await me.get('/v1/me'));
  });

  // --- headers and paths ---

  it('nothing that a client sends becomes a header of an answer', async () => {
    const evil = '%0d%0aSet-Cookie:%20a=b';
    for (const path of [`/v1/lists/${evil}`, `/v1/lists?cursor=${evil}`, `/v1/tasks?q=${evil}`, `/${evil}`, `/v1/lists/${list.id}/events?epoch=${evil}`]) {
      const { answers, text } = await exchange(url, request('GET', path, { headers: { Authorization: `Bearer ${me.token}` } }));
      assert.equal(answers.length, 1);
      assert.equal(answers[0].headers.get('set-cookie'), null, path);
      assert.doesNotMatch(text.split('\r\n\r\n')[0], /a=b/, path);
    }
    const headers = { Authorization: `Bearer ${me.token}`, Origin: 'https://evil.example', 'X-Request-Id': 'evil', 'Request-Id': 'evil', traceparent: 'evil' };
    const { answers } = await exchange(url, request('GET', '/v1/me', { headers }));
    for (const [name, value] of answers[0].headers) assert.doesNotMatch(value, /evil/, name);
    const key = await exchange(url, `POST /v1/lists HTTP/1.1\r\nHost: x\r\n${auth()}Connection: close\r\nContent-Type: application/json\r\nContent-Length: 13\r\nIdempotency-Key: a\x0bSet-Cookie: b\r\n\r\n{"title":"x"}`);
    assert.equal(key.answers[0].status, 400);
  });

  it('a path is what it says: no dots, no slashes more, no parameters, no bytes behind an end', async () => {
    for (const path of ['/v1/x/../lists', '/v1/./lists', '/v1/%2e%2e/v1/lists', '/v1/%2e/lists', '/v1;x=1/lists', '/v1/lists;x', '/v1/lists%00',
      '/v1/lists%00.yaml', '//v1/lists', '/v1//lists', '/v1%2Flists', '/v1/lists/%2e%2e/me', '\\v1\\lists', '/v1\\lists', '/v1/lists%20', '/v1/lists%0a',
      '/openapi.yaml/../v1/lists', '/%76%31/../lists', '/metrics', '/%6detrics', '/actors;', '/v1/lists%c0%ae', '/v1/lists%252f', '/v1/lists%', '/v1/lists%4']) {
      const { answers } = await exchange(url, request('GET', path, { headers: { Authorization: `Bearer ${me.token}` } }));
      assert.ok([400, 404].includes(answers[0].status), `${path}: ${answers[0].status}`);
    }
  });

  it('a token in an address is none, and is not told back', async () => {
    for (const name of ['token', 'access_token', 'authorization', 'bearer']) {
      const answer = await new Client(url).get(`/v1/me?${name}=${me.token}`);
      assert.ok([400, 401].includes(answer.status), `${name}: ${answer.status}`);
      assert.ok(!answer.text.includes(me.token));
      const upgrade = { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': randomBytes(16).toString('base64') };
      const { answers } = await exchange(url, request('GET', `/v1/ws?${name}=${me.token}`, { headers: upgrade }));
      assert.equal(answers[0].status, 400);
    }
    assert.ok(!bench.taskwire.log.includes(me.token), 'nor logged');
  });

  // --- JSON ---

  it('JSON that is a bomb is refused at once', async () => {
    const n = await lists();
    const started = performance.now();
    for (const body of ['['.repeat(500 * KIB), '{"a":'.repeat(100 * KIB), `{"title":${'['.repeat(5000)}${']'.repeat(5000)}}`,
      `{"title":${'9'.repeat(900 * KIB)}}`, '{"title":1e999999}', `{"title":-${'0'.repeat(1000)}1}`, `{"${'k'.repeat(900 * KIB)}":1}`,
      `{${Array.from({ length: 60_000 }, (_, i) => `"k${i}":0`).join()}}`, `{"title":"${'\\u0061'.repeat(100 * KIB)}"}`,
      `{"title":"${'\\ud800'}"}`, '{"title":"x","title":"y"}', '{"__proto__":{"title":"x"}}', '{"title":"x"}{"title":"y"}', '{"title":"x"}\0']) {
      const answer = await me.post('/v1/lists', body);
      assert.ok([400, 413, 422].includes(answer.status), `${body.slice(0, 40)}: ${answer.status} ${answer.text.slice(0, 200)}`);
      assert.ok(answer.text.length < 256 * KIB, 'the answer is no bomb itself');
    }
    assert.ok(performance.now() - started < 60_000);
    assert.equal(await lists(), n);
  });

  // --- WebSocket ---

  // A WebSocket on a bare socket, logged in.
  async function bare() {
    const { hostname, port } = new URL(url);
    const socket = connect(port, hostname);
    let got = Buffer.alloc(0);
    socket.on('error', () => {});
    socket.on('data', (chunk) => { got = Buffer.concat([got, chunk]); });
    socket.write(`GET /v1/ws HTTP/1.1\r\nHost: x\r\n${auth()}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
      `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\nSec-WebSocket-Protocol: taskwire.v1.json\r\n\r\n`);
    await waitFor(() => got.includes('"welcome"'), 'a welcome');
    return socket;
  }

  // A frame with a mask of zeros.
  function frame(first, payload = '', { length } = {}) {
    const bytes = Buffer.from(payload);
    const n = length ?? BigInt(bytes.length);
    const head = n < 126n ? Buffer.from([first, 0x80 | Number(n)]) : Buffer.concat([Buffer.from([first, 0x80 | (n < 65536n ? 126 : 127)]),
      n < 65536n ? Buffer.from([Number(n >> 8n), Number(n & 255n)]) : (() => { const b = Buffer.alloc(8); b.writeBigUInt64BE(n); return b; })()]);
    return Buffer.concat([head, Buffer.alloc(4), bytes]);
  }

  it('frames that are none, or not at that place, end the connection and change nothing', async () => {
    const before = granted(await me.get(`/v1/lists/${list.id}`)).head;
    const command = JSON.stringify({ op: 'command', command: { id: uuid(), op: 'task.create', list: list.id, data: { title: 'x' } } });
    for (const [what, bytes] of [
      ['a reserved bit', frame(0x81 | 0x40, command)], ['another', frame(0x81 | 0x20, command)], ['a third', frame(0x81 | 0x10, command)],
      ['an opcode that is none', frame(0x83, command)], ['a control opcode that is none', frame(0x8b, command.slice(0, 100))],
      ['a continuation of nothing', frame(0x80, command)], ['a ping in fragments', frame(0x09, 'x')],
      ['a ping that is too long', frame(0x89, 'x'.repeat(126))], ['a message within another', Buffer.concat([frame(0x01, '{'), frame(0x81, command)])],
      ['a length with its highest bit', frame(0x81, 'x', { length: 1n << 63n })], ['a huge length', frame(0x81, 'x', { length: 1n << 40n })],
    ]) {
      const socket = await bare();
      socket.write(bytes);
      await waitFor(() => socket.closed || socket.readableEnded, `it ends: ${what}`, 10_000);
      socket.destroy();
    }
    assert.equal(granted(await me.get(`/v1/lists/${list.id}`)).head, before);
  });

  it('a message without end, in a million fragments, is not kept', async () => {
    const socket = await bare();
    socket.write(frame(0x01, 'x'));
    const more = Buffer.concat(Array.from({ length: 1000 }, () => frame(0x00, 'x'.repeat(100))));
    for (let i = 0; i < 20 && !socket.closed; i++) socket.write(more);
    await waitFor(() => socket.closed || socket.readableEnded, 'it ends', 10_000);
    socket.destroy();
    granted(await me.get('/v1/me'));
  });

  it('random bytes, at whatever point, harm nobody', async (t) => {
    const seed = Number(process.env.TASKWIRE_SEED ?? Math.floor(Math.random() * 2 ** 31));
    t.diagnostic(`TASKWIRE_SEED=${seed}`);
    let state = seed || 1;
    const dice = (n) => {
      state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
      return (state >> 8) % n;
    };
    const { hostname, port } = new URL(url);
    const starts = ['', 'GET ', 'GET / HTTP/1.1\r\n', `POST /v1/lists HTTP/1.1\r\nHost: x\r\n${auth()}`, `POST /v1/lists HTTP/1.1\r\nHost: x\r\n${auth()}Content-Length: 500\r\n\r\n`];
    for (let round = 0; round < 20; round++) {
      const sockets = Array.from({ length: 10 }, () => connect(port, hostname));
      for (const socket of sockets) {
        socket.on('error', () => {});
        socket.resume();
        socket.end(Buffer.concat([Buffer.from(starts[dice(starts.length)]), Buffer.from(Array.from({ length: dice(600) }, () => dice(256)))]));
      }
      await Promise.all(sockets.map((socket) => waitFor(() => socket.closed, 'it ends', 20_000)));
      const ws = await bare();
      ws.write(Buffer.from(Array.from({ length: 1 + dice(300) }, () => dice(256))));
      ws.destroy();
    }
    granted(await me.get('/v1/me'));
    refused(await new Client(url).get('/v1/me'), 401, 'unauthenticated');
  });
});
