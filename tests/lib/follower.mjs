// SPDX-License-Identifier: Apache-2.0
// A client that keeps copies of lists by WebSocket alone: snapshot, then events laid over it, resumed after every cut.
// It complains at once about a rev that comes twice, out of order, or not at all.
import WebSocket from 'ws';
import { fromFrame, toFrame } from './client.mjs';

export class Follower {
  constructor(url, token, lists, { protocol = 'taskwire.v1.json' } = {}) {
    this.url = url;
    this.token = token;
    this.protocol = protocol;
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
    this.streams.set(list, { rev: null, epoch: null, tasks: new Map(), loading: null });
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
    const stream = this.streams.get(message.stream);
    switch (message.op) {
      case 'welcome':
        this.isReady = true;
        for (const id of this.streams.keys()) this.subscribe(id);
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
    if (event.rev !== stream.rev + 1) this.faults.push(`rev ${event.rev} came after ${stream.rev} in ${event.stream}`);
    stream.rev = event.rev;
    if (event.type === 'task.moved_out') stream.tasks.delete(event.task);
    if (event.task === undefined || event.type === 'reminder.due' || Object.keys(event.set).length === 0) return;
    const before = stream.tasks.get(event.task) ?? {};
    stream.tasks.set(event.task, { ...before, ...event.set, rev: event.rev, updated_at: event.at });
  }

  stop() {
    this.isStopped = true;
    this.ws.terminate();
  }
}
