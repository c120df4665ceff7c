// SPDX-License-Identifier: Apache-2.0
// Clients that begin and never finish: others are served as ever, and the unfinished are closed.
import test, { before, after } from 'node:test';
import assert from 'node:assert/strict';
import net from 'node:net';
import { Bench } from '../lib/program.mjs';
import { Client } from '../lib/client.mjs';
import { waitFor } from '../lib/wait.mjs';

let bench;
let client;

before(async () => {
  bench = await Bench.start();
  client = await Client.register(bench.taskwire.url);
});

after(async () => {
  await bench.stop();
});

// A connection that sends this and then nothing more.
function half(text) {
  const { hostname, port } = new URL(bench.taskwire.url);
  const socket = net.connect(Number(port), hostname);
  const state = { socket, isClosed: false };
  socket.on('error', () => {});
  socket.on('close', () => { state.isClosed = true; });
  socket.on('data', () => {});
  socket.write(text);
  return state;
}

test('300 half-sent requests hold nobody up and are closed', { timeout: 120_000 }, async () => {
  const list = (await client.list()).id;
  const beginnings = [
    'GET /v1/lists HT',
    'POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"email": ',
    'GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConn',
  ];
  const halves = Array.from({ length: 300 }, (_, i) => half(beginnings[i % beginnings.length]));
  for (let i = 0; i < 20; i++) assert.equal((await client.post(`/v1/lists/${list}/tasks`, { title: 'T' })).status, 201);
  await waitFor(() => halves.every((one) => one.isClosed), 'all of them are closed', 60_000);
  assert.equal((await client.get(`/v1/lists/${list}/tasks?limit=500`)).body.items.length, 20);
});
