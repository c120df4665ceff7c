// SPDX-License-Identifier: Apache-2.0
// The edge to the network: TLS that ends here, proxies in front, and how many connections one address may have.
import { describe, it, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { copyFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { once } from 'node:events';
import { join } from 'node:path';
import WebSocket from 'ws';
import { Bench, command } from '../lib/program.mjs';
import { Client, uuid } from '../lib/client.mjs';
import { granted } from '../lib/expect.mjs';
import { exchange, parseAnswers, request } from '../lib/raw.mjs';
import { waitFor } from '../lib/wait.mjs';

const run = promisify(execFile);
const KIB = 1024;
const CONFIG = 78;

describe('the edge', { timeout: 600_000 }, () => {
  let bench;
  let plain; // without TLS
  let secure;
  let me;
  let ca;
  let certificates = 0;

  // A self-signed certificate for 127.0.0.1; answers the paths of certificate and key.
  async function certificate(subject, ...more) {
    const [cert, key] = ['cert', 'key'].map((what) => join(bench.dir, `${++certificates}-${what}.pem`));
    await run('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-subj', `/CN=${subject}`,
      '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '2', '-keyout', key, '-out', cert, ...(more.length ? more : ['-nodes'])]);
    return { cert, key };
  }

  // A request over TLS by node's client.
  function ask(path, { method = 'GET', headers = {}, body, token = me.token, url = secure.url, ...options } = {}) {
    const all = { ...(token && { Authorization: `Bearer ${token}` }), ...(body && { 'Content-Type': 'application/json' }), ...headers };
    return new Promise((done, failed) => {
      const asking = httpsRequest(url + path, { method, headers: all, ca, agent: false, ...options }, async (response) => {
        const chunks = [];
        for await (const chunk of response) chunks.push(chunk);
        const text = Buffer.concat(chunks).toString();
        done({ status: response.statusCode, headers: new Headers(Object.entries(response.headers).map(([name, value]) => [name, `${value}`])),
          text, body: text ? JSON.parse(text) : undefined });
      });
      asking.on('error', failed);
      asking.end(body && JSON.stringify(body));
    });
  }

  // A TLS connection that is through with its handshake.
  // What comes with the event; who is let go before it comes does not wait for ever.
  function first(socket, event) {
    const gone = once(socket, 'close').then(() => assert.fail(`closed before ${event}`));
    return Promise.race([once(socket, event), gone]);
  }

  async function shaken(options = {}) {
    const socket = connectTls({ host: '127.0.0.1', port: new URL(secure.url).port, ca, ...options });
    await first(socket, 'secureConnect');
    return socket;
  }

  const ended = async (socket) => {
    socket.on('error', () => {});
    socket.resume();
    await waitFor(() => socket.closed || socket.readableEnded, 'the connection ends', 20_000);
  };

  before(async () => {
    bench = await Bench.start();
    plain = bench.taskwire;
    const { cert, key } = await certificate('first');
    ca = readFileSync(cert);
    secure = await bench.program({ TLS_CERT: cert, TLS_KEY: key, GATEWAYS: 2 }).start();
    me = await Client.register(plain.url);
  });
  after(() => bench?.stop());

  // --- TLS ---

  it('with TLS_CERT and TLS_KEY it speaks HTTPS, and says so', async () => {
    assert.match(secure.url, /^https:\/\/127\.0\.0\.1:\d+$/);
    assert.match(secure.adminUrl, /^http:/);
    const list = granted(await ask('/v1/lists', { method: 'POST', body: { title: 'By TLS' } }), 201);
    assert.equal(granted(await ask(`/v1/lists/${list.id}`)).title, 'By TLS');
    assert.equal((await ask('/healthz', { token: null })).status, 200);
  });

  it('over HTTPS the cookie is Secure; only a trusted proxy may say that it was HTTPS', async () => {
    const login = { email: me.email, password: me.password };
    const over = await ask('/v1/sessions', { method: 'POST', body: login, token: null });
    granted(over, 201);
    assert.match(over.headers.get('set-cookie'), /; Secure/);
    const claimed = await new Client(plain.url).post('/v1/sessions', login, { 'X-Forwarded-Proto': 'https' });
    granted(claimed, 201);
    assert.doesNotMatch(claimed.headers.get('set-cookie'), /Secure/);
  });

  it('WebSockets work over TLS, and a page that came by HTTP may not open one', async () => {
    const list = await me.list();
    const open = (headers) => new WebSocket(`${secure.url.replace('http', 'ws')}/v1/ws`, ['taskwire.v1.json'],
      { ca, headers: { Authorization: `Bearer ${me.token}`, ...headers } });
    const ws = open({ Origin: secure.url });
    const messages = [];
    ws.on('message', (data) => messages.push(JSON.parse(data)));
    await once(ws, 'open');
    ws.send(JSON.stringify({ op: 'subscribe', stream: list.id }));
    await waitFor(() => messages.find((m) => m.op === 'snapshot'), 'a snapshot');
    const notes = 'n'.repeat(30 * KIB);
    const ids = Array.from({ length: 20 }, uuid);
    for (const id of ids) ws.send(JSON.stringify({ op: 'command', command: { id, op: 'task.create', list: list.id, data: { title: 'x', notes } } }));
    await waitFor(() => messages.filter((m) => m.op === 'event').length === 20, 'all events come');
    assert.deepEqual(messages.filter((m) => m.op === 'event').map((m) => m.rev), ids.map((_, i) => i + 2));
    assert.ok(messages.filter((m) => m.op === 'event').every((m) => m.set.notes === notes));
    ws.close(1000);
    const [code] = await once(ws, 'close');
    assert.equal(code, 1000);
    const foreign = open({ Origin: secure.url.replace('https', 'http') });
    foreign.on('error', () => {});
    const [, response] = await once(foreign, 'unexpected-response');
    assert.equal(response.statusCode, 403);
    foreign.terminate();
  });

  it('what is large comes whole in both directions, also for who reads late', async () => {
    const list = await me.list();
    const notes = (i) => `${i}`.padEnd(64 * KIB, 'x');
    const path = `/v1/lists/${list.id}/tasks`;
    for (let i = 0; i < 50; i++) granted(await me.post(path, { title: 'x', notes: notes(i) }), 201);
    const socket = await shaken({ allowHalfOpen: true });
    const get = request('GET', `${path}?limit=500`, { headers: { Authorization: `Bearer ${me.token}`, Connection: 'keep-alive' } });
    socket.write(get + get + get.replace('keep-alive', 'close'));
    socket.pause();
    for (let i = 0; i < 10; i++) granted(await ask('/v1/lists?limit=1'));
    const chunks = [];
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.resume();
    await once(socket, 'end');
    const answers = parseAnswers(Buffer.concat(chunks));
    assert.equal(answers.length, 3);
    for (const { body } of answers) assert.deepEqual(body.items.map((task) => task.notes).sort(), Array.from({ length: 50 }, (_, i) => notes(i)).sort());
    const tooLarge = await exchange(secure.url, request('POST', path, { headers: { Authorization: `Bearer ${me.token}`,
      'Content-Type': 'application/json' }, body: `"${'x'.repeat(1024 * KIB)}"` }), [], { ca });
    assert.equal(tooLarge.answers[0].status, 413);
  });

  it('bytes that come one by one are a request all the same, and a client that ends its side is let go', async () => {
    const { answers } = await exchange(secure.url, [...request('GET', '/v1/me', { headers: { Authorization: `Bearer ${me.token}` } })], [], { ca });
    assert.equal(granted(answers[0]).id, me.account);
    const socket = await shaken();
    socket.end();
    await ended(socket);
    const cut = await shaken();
    cut.write('GET /v1/me HTT');
    cut.destroy();
    granted(await ask('/v1/me'));
  });

  it('TLS is 1.2 or 1.3, and HTTP/1.1 what is spoken over it', async () => {
    for (const version of ['TLSv1.2', 'TLSv1.3']) {
      const socket = await shaken({ minVersion: version, maxVersion: version, ALPNProtocols: ['h2', 'http/1.1'] });
      assert.deepEqual([socket.getProtocol(), socket.alpnProtocol], [version, 'http/1.1']);
      socket.destroy();
    }
    await assert.rejects(shaken({ minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }), /protocol version|alert|version/i);
    await assert.rejects(shaken({ ALPNProtocols: ['h2'] }), /no application protocol|alert/i);
    await assert.rejects(shaken({ maxVersion: 'TLSv1.2', ciphers: 'AES256-SHA' }), /handshake failure|alert/i);
  });

  it('hundreds who shake hands at the same time all get in', async () => {
    await Promise.all(Array.from({ length: 300 }, async () => {
      const socket = await shaken();
      socket.write(request('GET', '/healthz'));
      assert.match((await first(socket, 'data'))[0].toString(), /^HTTP\/1\.1 200 /);
      socket.destroy();
    }));
  });

  it('who speaks HTTP without TLS is told so; who speaks nonsense or nothing is let go', async () => {
    const { port } = new URL(secure.url);
    const { answers, text } = await exchange(`http://127.0.0.1:${port}`, request('GET', '/healthz'));
    assert.equal(answers[0].status, 400);
    assert.match(text, /HTTPS/);
    const nonsense = connect(port, '127.0.0.1', () => nonsense.write('\0nonsense'));
    const silent = connect(port, '127.0.0.1');
    const half = connect(port, '127.0.0.1', () => half.write(Buffer.from([22, 3, 1, 2, 0, 1])));
    const broken = connect(port, '127.0.0.1', () => broken.write(Buffer.concat([Buffer.from([22, 3, 1, 0, 32]), Buffer.alloc(32, 7)])));
    await Promise.all([nonsense, silent, half, broken].map(ended));
    granted(await ask('/v1/me'));
  });

  it('the limits see the address of the client', async () => {
    const limited = await bench.program({ ...secure.settings, LISTEN: '127.0.0.1:0', ADMIN_LISTEN: '127.0.0.1:0', RATE_LIMIT_ANONYMOUS: 1 }).start();
    const from = (localAddress) => ask('/v1/me', { token: null, url: limited.url, localAddress });
    const answers = await Promise.all(Array.from({ length: 12 }, () => from('127.0.0.2')));
    assert.ok(answers.some(({ status }) => status === 429));
    const others = await Promise.all([from('127.0.0.3'), from('127.0.0.3')]);
    assert.deepEqual(others.map(({ status }) => status), [401, 401]);
    await limited.stop();
  });

  it('a certificate that was renewed is used without a restart; one that does not fit is not', async () => {
    const [first, second] = [await certificate('old'), await certificate('new')];
    const live = { cert: join(bench.dir, 'live.pem'), key: join(bench.dir, 'live.key') };
    const put = (what, from) => {
      copyFileSync(from, `${live[what]}.new`);
      renameSync(`${live[what]}.new`, live[what]);
    };
    put('cert', first.cert);
    put('key', first.key);
    const program = await bench.program({ TLS_CERT: live.cert, TLS_KEY: live.key }).start();
    const subject = async () => {
      const socket = connectTls({ host: '127.0.0.1', port: new URL(program.url).port, rejectUnauthorized: false });
      await once(socket, 'secureConnect');
      const { CN } = socket.getPeerCertificate().subject;
      socket.destroy();
      return CN;
    };
    const before = connectTls({ host: '127.0.0.1', port: new URL(program.url).port, rejectUnauthorized: false });
    await once(before, 'secureConnect');
    put('cert', second.cert);
    await waitFor(() => program.log.includes('stays in use'), 'it notices that they do not belong together');
    assert.equal(await subject(), 'old');
    put('key', second.key);
    await waitFor(async () => await subject() === 'new', 'the new one is used');
    writeFileSync(live.cert, 'nonsense');
    await waitFor(() => program.log.split('stays in use').length === 3, 'it notices that it is none');
    assert.equal(await subject(), 'new');
    before.write(request('GET', '/healthz'));
    const [answer] = await once(before, 'data');
    assert.match(`${answer}`, /^HTTP\/1\.1 200 /);
    await program.stop();
  });

  it('files that cannot be used end the start with 78 and the name of the key', async () => {
    const good = { cert: secure.settings.TLS_CERT, key: secure.settings.TLS_KEY };
    const other = await certificate('other');
    const locked = await certificate('locked', '-passout', 'pass:secret');
    const empty = join(bench.dir, 'empty.pem');
    writeFileSync(empty, '');
    for (const [cert, key, named] of [
      [good.cert, '', 'TLS_KEY'], ['', good.key, 'TLS_CERT'], ['/nowhere', good.key, 'TLS_CERT'], [good.cert, '/nowhere', 'TLS_KEY'],
      [good.cert, other.key, 'TLS_KEY'], [good.key, good.key, 'TLS_CERT'], [good.cert, good.cert, 'TLS_KEY'], [empty, good.key, 'TLS_CERT'],
      [locked.cert, locked.key, 'TLS_KEY'], [bench.dir, good.key, 'TLS_CERT'],
    ]) {
      const { code, stderr } = await command(['serve'], { TASKWIRE_DATABASE_URL: bench.databaseUrl, TASKWIRE_DATA_DIR: join(bench.dir, 'data'),
        TASKWIRE_LISTEN: '127.0.0.1:0', TASKWIRE_ADMIN_LISTEN: '127.0.0.1:0', TASKWIRE_TLS_CERT: cert, TASKWIRE_TLS_KEY: key });
      assert.deepEqual([code, stderr.startsWith(`taskwire: TASKWIRE_${named}: `)], [CONFIG, true], `${cert} ${key}: ${stderr}`);
    }
  });

  it('asked to end over TLS it answers what is under way and closes sockets with 1012', async () => {
    const program = await bench.program({ ...secure.settings, LISTEN: '127.0.0.1:0', ADMIN_LISTEN: '127.0.0.1:0' }).start();
    const list = await me.list();
    const ws = new WebSocket(`${program.url.replace('http', 'ws')}/v1/ws`, ['taskwire.v1.json'], { ca, headers: { Authorization: `Bearer ${me.token}` } });
    await once(ws, 'open');
    const waiting = ask(`/v1/lists/${list.id}?min_rev=2`, { url: program.url });
    const idle = connectTls({ host: '127.0.0.1', port: new URL(program.url).port, ca });
    await once(idle, 'secureConnect');
    await waitFor(async () => {
      const { actors } = await (await fetch(`${program.adminUrl}/actors`)).json();
      return actors.some(({ notes }) => notes.requests >= 1);
    }, 'it waits');
    program.signal('SIGTERM');
    const [code] = await once(ws, 'close');
    assert.equal(code, 1012);
    granted(await me.patch(`/v1/lists/${list.id}`, { title: 'Go on' }));
    const answer = await waiting;
    assert.equal(granted(answer).title, 'Go on');
    assert.equal(answer.headers.get('connection'), 'close');
    await ended(idle);
    assert.deepEqual(await program.ended, { code: 0, signal: null });
  });

  // --- connections ---

  it('an address may have so many connections at once, by TLS or not, and a trusted proxy any number', async () => {
    const { TLS_CERT, TLS_KEY } = secure.settings;
    for (const settings of [{}, { TLS_CERT, TLS_KEY }]) {
      const program = await bench.program({ ...settings, CONNECTION_LIMIT: 4, TRUSTED_PROXIES: '127.0.1.0/24', GATEWAYS: 2 }).start();
      const { port, protocol } = new URL(program.url);
      const served = async (localAddress) => {
        const get = request('GET', '/healthz', { headers: { Connection: 'keep-alive' } });
        const socket = (protocol === 'https:' ? connectTls : connect)({ host: '127.0.0.1', port, localAddress, ca });
        socket.on('error', () => {});
        socket.on(protocol === 'https:' ? 'secureConnect' : 'connect', () => socket.write(get));
        const chunk = await Promise.race(['data', 'close'].map((event) => once(socket, event).then(([first]) => first, () => '')));
        return /^HTTP\/1\.1 200 /.test(`${chunk}`) && socket;
      };
      const ws = new WebSocket(`${program.url.replace('http', 'ws')}/v1/ws`, ['taskwire.v1.json'], { ca, localAddress: '127.0.0.2',
        headers: { Authorization: `Bearer ${me.token}` } });
      await once(ws, 'open');
      const held = [await served('127.0.0.2'), await served('127.0.0.2'), await served('127.0.0.2')];
      assert.ok(held.every(Boolean));
      for (let i = 0; i < 3; i++) assert.ok(!await served('127.0.0.2'), 'one too many');
      await waitFor(async () => await program.metric('taskwire_connections_refused_total') === 3, 'those are counted');
      assert.ok(await served('127.0.0.3'), 'others are not concerned');
      for (let i = 0; i < 10; i++) assert.ok(await served('127.0.1.1'), 'a proxy');
      held[0].destroy();
      await waitFor(() => served('127.0.0.2'), 'there is room again');
      ws.terminate();
      await waitFor(() => served('127.0.0.2'), 'and again');
      assert.ok(!await served('127.0.0.2'));
      await program.stop();
    }
  });

  it('thousands of idle and slow connections do not keep others from being served', async () => {
    for (const [url, n] of [[plain.url, 2000], [secure.url, 300]]) {
      const { port, protocol } = new URL(url);
      const sockets = Array.from({ length: n }, () => (protocol === 'https:' ? connectTls : connect)({ host: '127.0.0.1', port, ca }));
      await Promise.all(sockets.map((socket) => once(socket, protocol === 'https:' ? 'secureConnect' : 'connect')));
      sockets.forEach((socket, i) => {
        socket.on('error', () => {});
        if (i % 2) socket.write(`POST /v1/lists HTTP/1.1\r\nHost: x\r\n${i % 4 === 1 ? 'Content-Length: 9\r\n\r\n{' : 'X-Slow'}`);
      });
      const list = granted(protocol === 'https:' ? await ask('/v1/lists', { method: 'POST', body: { title: 'x' } }) : await me.post('/v1/lists', { title: 'x' }), 201);
      for (let i = 0; i < 20; i++) granted(protocol === 'https:' ? await ask(`/v1/lists/${list.id}`) : await me.get(`/v1/lists/${list.id}`));
      for (const socket of sockets) socket.destroy();
    }
  });
});
