// SPDX-License-Identifier: Apache-2.0
// Stands between taskwire and PostgreSQL on a Unix socket of its own, and misbehaves when told to: cuts a connection
// around a COMMIT, swallows what it should pass on, refuses.
import net from 'node:net';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

export class PgProxy {
  // `dir` gets the socket; `target` is the directory of PostgreSQL's.
  static async start(dir, target) {
    const proxy = new PgProxy();
    mkdirSync(dir, { recursive: true });
    Object.assign(proxy, { dir, target: join(target, '.s.PGSQL.5432'), pairs: new Set(), cut: null, isFrozen: false, cuts: 0 });
    await proxy.listen();
    return proxy;
  }

  listen() {
    this.server = net.createServer((client) => this.pass(client));
    return new Promise((done) => { this.server.listen(join(this.dir, '.s.PGSQL.5432'), done); });
  }

  url(url) {
    return url.replace(/host=[^&]*/, `host=${encodeURIComponent(this.dir).replaceAll('%2F', '/')}`);
  }

  pass(client) {
    const server = net.connect(this.target);
    const pair = { client, server, commits: new Set(), isTyped: false, rest: Buffer.alloc(0), nextIsCommit: false, isMute: false };
    this.pairs.add(pair);
    const end = () => {
      client.destroy();
      server.destroy();
      this.pairs.delete(pair);
    };
    for (const socket of [client, server]) {
      socket.on('error', end);
      socket.on('close', end);
    }
    client.on('data', (data) => {
      if (this.isFrozen) {
        pair.held = Buffer.concat([pair.held ?? Buffer.alloc(0), data]);
        return;
      }
      this.fromClient(pair, data);
    });
    server.on('data', (data) => {
      if (pair.isMute) return;
      if (this.isFrozen) pair.heldBack = Buffer.concat([pair.heldBack ?? Buffer.alloc(0), data]);
      else client.write(data);
    });
  }

  // Passes on, looking for the execution of a COMMIT.
  fromClient(pair, data) {
    const hasCommit = this.scan(pair, data);
    if (!hasCommit || this.cut === null) {
      pair.server.write(data);
      return;
    }
    const how = this.cut;
    this.cut = null;
    this.cuts++;
    if (how === 'before') {
      // The server never hears of it.
      pair.client.destroy();
      pair.server.destroy();
      return;
    }
    // The server commits, the answer is lost.
    pair.isMute = true;
    pair.server.write(data);
    setImmediate(() => pair.client.destroy());
    pair.client.removeAllListeners('close');
    setTimeout(() => pair.server.destroy(), 1000);
  }

  scan(pair, data) {
    let found = false;
    pair.rest = Buffer.concat([pair.rest, data]);
    for (;;) {
      const head = pair.isTyped ? 1 : 0;
      if (pair.rest.length < head + 4) return found;
      const length = pair.rest.readInt32BE(head) + head;
      if (pair.rest.length < length) return found;
      const message = pair.rest.subarray(0, length);
      pair.rest = pair.rest.subarray(length);
      if (!pair.isTyped) {
        // The start-up message, or a request for encryption, which is refused and followed by another.
        if (message.readInt32BE(4) >> 16 === 3) pair.isTyped = true;
        continue;
      }
      found = this.look(pair, message) || found;
    }
  }

  look(pair, message) {
    const text = (at) => message.toString('latin1', at, message.indexOf(0, at));
    const type = String.fromCharCode(message[0]);
    if (type === 'P') {
      const name = text(5);
      if (text(5 + name.length + 1) === 'COMMIT') pair.commits.add(name);
    } else if (type === 'B') {
      const portal = text(5);
      return pair.commits.has(text(5 + portal.length + 1));
    }
    return false;
  }

  // The next COMMIT of any connection is cut, 'before' or 'after' the server gets it.
  cutNextCommit(how) {
    this.cut = how;
  }

  // Nothing moves any more, in either direction, until thaw.
  freeze() {
    this.isFrozen = true;
  }

  thaw() {
    this.isFrozen = false;
    for (const pair of this.pairs) {
      if (pair.held) this.fromClient(pair, pair.held);
      if (pair.heldBack) pair.client.write(pair.heldBack);
      pair.held = pair.heldBack = undefined;
    }
  }

  // Breaks everything and refuses; listen() ends it.
  async refuse() {
    const closed = new Promise((done) => { this.server.close(done); });
    for (const { client, server } of this.pairs) {
      client.destroy();
      server.destroy();
    }
    await closed;
  }

  async stop() {
    if (this.server.listening) await this.refuse();
  }
}
