// SPDX-License-Identifier: Apache-2.0
// What clients see of a program that is asked to end while they talk to it, and which signals do not end it.
import { describe, it, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { once } from 'node:events';
import { Bench } from '../lib/program.mjs';
import { Client } from '../lib/client.mjs';
import { granted, refused } from '../lib/expect.mjs';
import { Hold } from '../lib/hold.mjs';
import { parseAnswers, request } from '../lib/raw.mjs';
import { waitFor } from '../lib/wait.mjs';

describe('being stopped', { timeout: 300_000 }, () => {
  let bench;
  let me;

  before(async () => {
    bench = await Bench.start();
    me = await Client.register(bench.taskwire.url);
  });
  after(() => bench?.stop());

  // Opens a connection, has it answer something, and sends the first bytes of a request; `finish` sends the rest and answers the answer.
  async function begin(url, method, path, body = '') {
    const bytes = request(method, path, { headers: { Authorization: `Bearer ${me.token}`, Connection: 'keep-alive',
      ...(body ? { 'Content-Type': 'application/json' } : {}) }, body });
    const { hostname, port } = new URL(url);
    const socket = connect({ host: hostname, port });
    socket.write(request('GET', '/healthz', { headers: { Connection: 'keep-alive' } }));
    assert.match((await once(socket, 'data'))[0].toString(), /^HTTP\/1\.1 200 /);
    socket.write(bytes.slice(0, 20));
    const chunks = [];
    socket.on('data', (chunk) => chunks.push(chunk));
    return {
      async finish() {
        socket.write(bytes.slice(20));
        await once(socket, 'close');
        return parseAnswers(Buffer.concat(chunks))[0];
      },
    };
  }

  it('requests that come after it was asked to end get 503 and are not carried out, those before are answered', async (t) => {
    const program = await bench.program({ GATEWAYS: 2 }).start();
    const mine = new Client(program.url, me.token);
    const { id: list } = await me.list();
    const sockets = await Promise.all(Array.from({ length: 4 }, () => mine.socket())); // of both gateways
    const hold = await Hold.shardsOf(bench.cluster, [list]);
    t.after(() => hold.release());
    const before = mine.post(`/v1/lists/${list}/tasks`, { title: 'Before' });
    await hold.untilWaited();

    // Connections that have begun to ask when it is asked to end, on both gateways.
    const open = [];
    for (const [method, path, body] of [['GET', '/v1/lists'], ['POST', `/v1/lists/${list}/tasks`, '{"title":"After"}'], ['GET', '/openapi.yaml'],
      ['POST', '/v1/sessions', '{"email":"a@example.org","password":"wrong password"}']]) {
      for (let i = 0; i < 2; i++) open.push(await begin(program.url, method, path, body));
    }
    const health = await begin(program.url, 'GET', '/healthz');
    const ready = await begin(program.adminUrl, 'GET', '/readyz');

    program.signal('SIGTERM');
    await waitFor(() => sockets.every((socket) => socket.closed), 'the sockets are closed');
    assert.deepEqual(sockets.map((socket) => socket.closed.code), [1012, 1012, 1012, 1012]);
    for (const connection of open) {
      const answer = await connection.finish();
      refused(answer, 503, 'unavailable');
      assert.equal(answer.headers.get('connection'), 'close');
    }
    granted(await health.finish());
    const unready = await ready.finish();
    assert.deepEqual([unready.status, unready.body.status], [503, 'unavailable']);

    await hold.release();
    assert.equal(granted(await before, 201).title, 'Before');
    assert.deepEqual(await program.ended, { code: 0, signal: null });
    assert.deepEqual(granted(await me.get(`/v1/lists/${list}/tasks`)).items.map((task) => task.title), ['Before']);
  });

  it('a hang-up does not end it, nor anybody\'s connection', async () => {
    const program = bench.taskwire;
    const socket = await me.socket();
    for (let i = 1; i <= 2; i++) {
      program.signal('SIGHUP');
      await waitFor(() => program.log.split('signal=HUP').length > i, 'it has heard');
    }
    const list = await me.list();
    await socket.subscribe(list.id);
    await me.task(list.id);
    await socket.find((message) => message.type === 'task.created', 'the event');
    assert.equal(program.exit, null);
    await socket.close();
  });
});
