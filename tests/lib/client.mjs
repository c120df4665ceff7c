// SPDX-License-Identifier: Apache-2.0
// Independent clients: plain HTTP by Node's fetch and http, WebSocket by npm's ws.
import { randomBytes } from 'node:crypto';
import WebSocket from 'ws';
import { decode, encode } from '@msgpack/msgpack';
import { waitFor } from './wait.mjs';

// A UUID of version 7.
export function uuid() {
  const bytes = randomBytes(16);
  let now = Date.now();
  for (let i = 5; i >= 0; i--) {
    bytes[i] = now % 256;
    now = Math.floor(now / 256);
  }
  bytes[6] = (bytes[6] & 0x0f) | 0x70;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

// Somebody with a token, over HTTP.
export class Client {
  constructor(url, token) {
    this.url = url;
    this.token = token;
  }

  // An account of its own.
  static async register(url, extra = {}) {
    const client = new Client(url);
    client.email = `${randomBytes(6).toString('hex')}@example.org`;
    client.password = 'correct horse battery staple';
    const answer = await client.post('/v1/accounts', {
      email: client.email, password: client.password, time_zone: 'Europe/Zurich', ...extra,
    });
    if (answer.status !== 201) throw new Error(`no account: ${answer.status} ${answer.text}`);
    client.token = answer.body.token;
    client.account = answer.body.account.id;
    return client;
  }

  // Sends a request; answers {status, headers, text, body}.
  async request(method, path, body, headers = {}) {
    const all = { ...headers };
    if (this.token && !('Authorization' in all)) all.Authorization = `Bearer ${this.token}`;
    let data;
    if (body !== undefined) {
      data = typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body);
      if (!('Content-Type' in all)) all['Content-Type'] = 'application/json';
    }
    const response = await fetch(this.url + path, { method, body: data, headers: all });
    const text = await response.text();
    let value;
    try {
      value = text === '' ? undefined : JSON.parse(text);
    } catch {
      value = undefined;
    }
    return { status: response.status, headers: response.headers, text, body: value };
  }

  get(path, headers) { return this.request('GET', path, undefined, headers); }
  post(path, body, headers) { return this.request('POST', path, body, headers); }
  patch(path, body, headers) { return this.request('PATCH', path, body, headers); }
  delete(path, headers) { return this.request('DELETE', path, undefined, headers); }

  // A new list; answers it.
  async list(title = 'A list') {
    const answer = await this.post('/v1/lists', { title });
    if (answer.status !== 201) throw new Error(`no list: ${answer.status} ${answer.text}`);
    return answer.body;
  }

  // A new task in a list; answers it.
  async task(list, fields = {}) {
    const answer = await this.post(`/v1/lists/${list}/tasks`, { title: 'A task', ...fields });
    if (answer.status !== 201) throw new Error(`no task: ${answer.status} ${answer.text}`);
    return answer.body;
  }

  socket(options) { return Socket.open(this.url, { token: this.token, ...options }); }
}

// The subprotocol decides about the frames: binary for msgpack, text for JSON.
export const MSGPACK = 'taskwire.v1.msgpack';
export const toFrame = (ws, message) => (ws.protocol === MSGPACK ? encode(message) : JSON.stringify(message));
export function fromFrame(ws, data, isBinary) {
  if (isBinary !== (ws.protocol === MSGPACK)) throw new Error(`a ${isBinary ? 'binary' : 'text'} frame of ${ws.protocol}`);
  return isBinary ? decode(data) : JSON.parse(data);
}

// A WebSocket: every message that came is in `messages`, in order. A wrong kind of frame is there as an Error.
export class Socket {
  static async open(url, { token, hello = false, protocol = 'taskwire.v1.json', headers = {}, welcome = true } = {}) {
    const socket = new Socket();
    socket.messages = [];
    socket.taken = 0;
    socket.closed = null;
    const all = { ...headers };
    if (token && !hello) all.Authorization = `Bearer ${token}`;
    socket.ws = new WebSocket(`${url.replace('http', 'ws')}/v1/ws`, [protocol].flat(), { headers: all });
    socket.ws.on('message', (data, isBinary) => {
      try {
        socket.messages.push(fromFrame(socket.ws, data, isBinary));
      } catch (error) {
        socket.messages.push(error);
      }
    });
    socket.ws.on('close', (code, reason) => { socket.closed = { code, reason: reason.toString() }; });
    await new Promise((opened, failed) => {
      socket.ws.on('open', opened);
      socket.ws.on('error', failed);
      socket.ws.on('unexpected-response', (_, response) => failed(new Error(`refused with ${response.statusCode}`)));
    });
    socket.ws.on('error', () => {});
    if (hello) socket.send({ op: 'hello', token });
    if (welcome) await socket.find((m) => m.op === 'welcome', 'a welcome');
    return socket;
  }

  // Text and bytes go as they are.
  send(message) {
    const isRaw = typeof message === 'string' || message instanceof Uint8Array;
    this.ws.send(isRaw ? message : toFrame(this.ws, message));
  }

  // The first message, from the beginning or from `from` on, that fits; waits for it.
  async find(fits, what, from = 0, limitMs) {
    return waitFor(() => this.messages.slice(from).find(fits) ?? (this.closed && this.isOver(what)), what, limitMs);
  }

  isOver(what) {
    throw new Error(`closed with ${JSON.stringify(this.closed)} before there was ${what}`);
  }

  // Subscribes and waits for the answer; answers its first message.
  async subscribe(stream, extra = {}) {
    const from = this.messages.length;
    this.send({ op: 'subscribe', stream, ...extra });
    return this.find((m) => (m.op === 'subscribed' || m.op === 'snapshot' || m.op === 'error') &&
      (m.stream === undefined || m.stream === stream), 'an answer to subscribe', from);
  }

  events(stream) {
    return this.messages.filter((m) => m.op === 'event' && (stream === undefined || m.stream === stream));
  }

  async close(code) {
    this.ws.close(code);
    await waitFor(() => this.closed, 'the socket is closed');
  }
}
