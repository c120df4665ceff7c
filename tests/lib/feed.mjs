// SPDX-License-Identifier: Apache-2.0
// A server-sent event stream, byte by byte: every block that came is in `blocks` as {id, event, data, retry, comment}.
import http from 'node:http';
import { waitFor } from './wait.mjs';

// The fields of one block, as the HTML standard reads them.
export function parseBlock(text) {
  const block = {};
  for (const line of text.split('\n')) {
    if (line.startsWith(':')) {
      block.comment = line.slice(1);
      continue;
    }
    const colon = line.indexOf(':');
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    block[name] = name === 'data' && block.data !== undefined ? `${block.data}\n${value}` : value;
  }
  if (block.data !== undefined) block.data = JSON.parse(block.data);
  return block;
}

export class Feed {
  // Opens it; answers when the head is there. A refusal has its status, and its body in `body`.
  static async open(url, path, { token, headers = {} } = {}) {
    const feed = new Feed();
    Object.assign(feed, { blocks: [], isOver: false, rest: '', body: undefined });
    const all = { Accept: 'text/event-stream', ...headers };
    if (token) all.Authorization = `Bearer ${token}`;
    feed.request = http.get(url + path, { headers: all, agent: false });
    feed.response = await new Promise((done, failed) => {
      feed.request.on('response', done);
      feed.request.on('error', failed);
    });
    feed.request.on('error', () => { feed.isOver = true; });
    feed.status = feed.response.statusCode;
    feed.headers = feed.response.headers;
    feed.response.setEncoding('utf8');
    feed.response.on('data', (text) => feed.take(text));
    for (const name of ['end', 'error', 'close']) feed.response.on(name, () => { feed.isOver = true; });
    if (feed.status !== 200) {
      await feed.over();
      feed.body = JSON.parse(feed.rest);
    }
    return feed;
  }

  take(text) {
    this.rest += text;
    if (this.status !== 200) return;
    for (let end = this.rest.indexOf('\n\n'); end >= 0; end = this.rest.indexOf('\n\n')) {
      const block = parseBlock(this.rest.slice(0, end));
      this.rest = this.rest.slice(end + 2);
      if (block.id !== undefined) this.lastId = block.id;
      this.blocks.push(block);
      this.onBlock?.(block);
    }
  }

  // What happened in the stream: the blocks with an id and data.
  get events() { return this.blocks.filter((block) => block.id !== undefined && block.data !== undefined); }

  find(fits, what, limitMs) { return waitFor(() => this.blocks.find(fits), what, limitMs); }

  async upTo(rev) {
    await waitFor(() => this.lastId && Number(this.lastId.split(':')[1]) >= rev, `rev ${rev} in the event stream`);
    return this.events;
  }

  over(limitMs) { return waitFor(() => this.isOver, 'the event stream has ended', limitMs); }

  close() { this.request.destroy(); }
}
