// SPDX-License-Identifier: Apache-2.0
// Clients that keep copies of lists, resumed after every cut: by WebSocket alone (a snapshot, then events laid over it; in
// JSON or msgpack; list by list or all at once), or by server-sent events alone (all events, from the first). They
// complain at once about a rev that comes twice, out of order, or not at all.
import WebSocket from 'ws';
import { fromFrame, toFrame } from './client.mjs';
import { Feed } from './feed.mjs';

const newStream = () => ({ rev: null, epoch: null, tasks: new Map(), loading: null });

// Lays an event over what is there; answers what is wrong with it.
function layOver(stream, event) {
  const fault = event.rev === stream.rev + 1 ? undefined : `rev ${event.rev} came after ${stream.rev} in ${event.stream}`;
  stream.rev = event.rev;
  if (event.type === 'task.moved_out') stream.tasks.delete(event.task);
  if (event.task === undefined || event.type === 'reminder.due' || Object.keys(event.set).length === 0) return fault;
  const before = stream.tasks.get(event.task) ?? {};
  stream.tasks.set(event.task, { ...before, ...event.set, rev: event.rev, updated_at: event.at });
  return fault;
}

export class Follower {
  constructor(url, token, lists, { protocol = 'taskwire.v1.json', all = false } = {}) {
    this.url = url;
    this.token = token;
    this.protocol = protocol;
    this.all = all; // follows whatever there is; `lists` only says what is there already
    this.streams = new Map(); // id → {rev, epoch, tasks: Map}
    this.faults = [];
    this.results = new Map(); // command id → what to do with its result
    this.counts = { events: 0, snapshots: 0, resumes: 0, resets: 0, cuts: 0 };
    this.isStopped = false;
    this.isReady = false;
    for (const list of lists) this.add(list);
    this.connect();
  }

  add(list) {
    if (this.streams.has(list)) return;
    if (this.all) return;
    this.streams.set(list, newStream());
    if (this.isReady) this.subscribe(list);
  }

  connect() {
    if (this.isStopped) return;
    this.isReady = false;
    const ws = new WebSocket(`${this.url.replace('http', 'ws')}/v1/ws`, [this.protocol], {
      headers: { Authorization: `Bearer ${this.token}` }, handshakeTimeout: 5000,
    });
    this.ws = ws;
    ws.on('message', (data, isBinary) => {
      try {
        this.take(fromFrame(ws, data, isBinary));
      } catch (error) {
        this.faults.push(error.stack);
      }
    });
    ws.on('error', () => {});
    ws.on('close', () => {
      this.isReady = false;
      this.counts.cuts++;
      for (const settle of this.results.values()) settle(null);
      this.results.clear();
      for (const stream of this.streams.values()) stream.loading = null;
      setTimeout(() => this.connect(), 100);
    });
  }

  subscribe(id) {
    const stream = this.streams.get(id);
    const message = { op: 'subscribe', stream: id, closed: true };
    if (stream.rev !== null) {
      message.after = stream.rev;
      message.epoch = stream.epoch;
      this.counts.resumes++;
    }
    this.ws.send(toFrame(this.ws, message));
  }

  subscribeAll() {
    const message = { op: 'subscribe', all: true, closed: true };
    const known = [...this.streams].filter(([, stream]) => stream.rev !== null);
    if (known.length > 0) {
      message.epoch = known[0][1].epoch;
      message.after = Object.fromEntries(known.map(([id, stream]) => [id, stream.rev]));
      this.counts.resumes += known.length;
    }
    this.ws.send(toFrame(this.ws, message));
  }

  // Sends a command; answers its result, or null when the connection broke before it came.
  command(command) {
    return new Promise((settle) => {
      if (!this.isReady) {
        settle(null);
        return;
      }
      this.results.set(command.id, settle);
      this.ws.send(toFrame(this.ws, { op: 'command', command }));
    });
  }

  take(message) {
    if (this.all && message.op === 'snapshot' && !this.streams.has(message.stream)) this.streams.set(message.stream, newStream());
    const stream = this.streams.get(message.stream);
    switch (message.op) {
      case 'welcome':
        this.isReady = true;
        if (this.all) this.subscribeAll();
        else for (const id of this.streams.keys()) this.subscribe(id);
        break;
      case 'result': {
        const settle = this.results.get(message.id);
        this.results.delete(message.id);
        settle?.(message);
        break;
      }
      case 'subscribed':
        if (message.rev < stream.rev) this.faults.push(`subscribed goes back from ${stream.rev} to ${message.rev}`);
        break;
      case 'snapshot':
        this.takeSnapshot(stream, message);
        break;
      case 'event':
        this.takeEvent(stream, message);
        break;
      case 'removed':
        if (this.all) this.streams.delete(message.stream);
        else this.faults.push(`removed from ${message.stream}`);
        break;
      case 'reset':
        this.counts.resets++;
        this.subscribe(message.stream);
        break;
      case 'error':
        // A database away at the moment of subscribing: ask again on a new connection.
        if (message.problem.status === 503) this.ws.terminate();
        else this.faults.push(`error ${JSON.stringify(message)}`);
        break;
      case 'pong':
        break;
      default:
        this.faults.push(`unexpected ${JSON.stringify(message)}`);
    }
  }

  takeSnapshot(stream, message) {
    this.counts.snapshots++;
    stream.loading ??= new Map();
    for (const task of message.tasks) stream.loading.set(task.id, task);
    if (message.more) return;
    stream.tasks = stream.loading;
    stream.loading = null;
    stream.rev = message.rev;
    stream.epoch = message.epoch;
  }

  takeEvent(stream, event) {
    this.counts.events++;
    const fault = layOver(stream, event);
    if (fault) this.faults.push(fault);
  }

  stop() {
    this.isStopped = true;
    this.ws.terminate();
  }
}

// Follows lists by server-sent events, from their first event on.
export class FeedFollower {
  constructor(url, token, lists) {
    Object.assign(this, { url, token, faults: [], isStopped: false });
    this.counts = { events: 0, resumes: 0, resets: 0, cuts: 0 };
    this.streams = new Map(lists.map((list) => [list, { ...newStream(), rev: 0, lastId: undefined }]));
    this.feeds = new Map();
    for (const list of lists) this.follow(list);
  }

  get isReady() { return this.feeds.size === this.streams.size; }

  async follow(list) {
    const stream = this.streams.get(list);
    try {
      const headers = stream.lastId ? { 'Last-Event-ID': stream.lastId } : {};
      const feed = await Feed.open(this.url, `/v1/lists/${list}/events?after=0`, { token: this.token, headers });
      if (feed.status === 200) await this.read(list, stream, feed);
      else if (feed.status !== 503) this.faults.push(`${list} is answered ${JSON.stringify(feed.body)}`);
    } catch {
      // The server is away: again, like a browser.
    }
    this.feeds.delete(list);
    this.counts.cuts++;
    if (!this.isStopped) setTimeout(() => this.follow(list), 100);
  }

  async read(list, stream, feed) {
    if (stream.lastId) this.counts.resumes++;
    this.feeds.set(list, feed);
    for (const block of feed.blocks) this.take(stream, block);
    feed.onBlock = (block) => this.take(stream, block);
    if (this.isStopped) feed.close();
    while (!feed.isOver) await new Promise((done) => { feed.response.once('close', done); });
  }

  take(stream, block) {
    if (block.event === 'reset') this.counts.resets++;
    if (block.id === undefined) return;
    const [epoch, rev] = block.id.split(':');
    stream.epoch = epoch;
    if (block.data === undefined) {
      if (Number(rev) !== stream.rev) this.faults.push(`a stream begins at ${rev}, not at ${stream.rev}`);
    } else {
      this.counts.events++;
      const fault = layOver(stream, block.data);
      if (fault) this.faults.push(fault);
    }
    stream.lastId = block.id;
  }

  stop() {
    this.isStopped = true;
    for (const feed of this.feeds.values()) feed.close();
  }
}
