// SPDX-License-Identifier: Apache-2.0
// HTTP byte by byte, for what no client library would send.
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';

// The answers in what a server sent, in order. `methods` says to which requests, for HEAD has no body.
export function parseAnswers(bytes, methods = []) {
  const answers = [];
  let rest = bytes;
  while (rest.length > 0) {
    const end = rest.indexOf('\r\n\r\n');
    if (end < 0) throw new Error(`half a head: ${rest.toString('latin1')}`);
    const [first, ...lines] = rest.subarray(0, end).toString('latin1').split('\r\n');
    const headers = new Headers(lines.map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon), line.slice(colon + 1).trim()];
    }));
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(first)[1]);
    const isFinal = status >= 200;
    const length = isFinal && methods[answers.length] !== 'HEAD' ? Number(headers.get('content-length') ?? 0) : 0;
    const text = rest.subarray(end + 4, end + 4 + length).toString();
    rest = rest.subarray(end + 4 + length);
    if (isFinal) answers.push({ status, headers, text, body: /json/.test(headers.get('content-type')) && text ? JSON.parse(text) : undefined });
  }
  return answers;
}

// Sends the parts, one after the other, and answers what came until the server closed the connection: its answers, and
// the bytes as text. A regular expression among the parts waits until what came so far fits it. `options` are those of
// node's connect.
export function exchange(url, parts, methods, options = {}) {
  const { hostname, port, protocol } = new URL(url);
  const open = protocol === 'https:' ? connectTls : connect;
  return new Promise((done, failed) => {
    const chunks = [];
    const left = [parts].flat();
    const send = () => {
      while (left.length > 0) {
        if (left[0] instanceof RegExp && !left[0].test(Buffer.concat(chunks).toString('latin1'))) return;
        const part = left.shift();
        if (!(part instanceof RegExp)) socket.write(part);
      }
    };
    const socket = open({ host: hostname, port, ...options }, send);
    socket.setTimeout(20_000, () => socket.destroy(new Error(`the server did not close: ${Buffer.concat(chunks)}`)));
    socket.on('data', (chunk) => {
      chunks.push(chunk);
      send();
    });
    socket.on('error', failed);
    socket.on('close', () => {
      const bytes = Buffer.concat(chunks);
      try {
        done({ answers: parseAnswers(bytes, methods), text: bytes.toString('latin1') });
      } catch (error) {
        failed(error);
      }
    });
  });
}

// A request as bytes; the connection ends with its answer unless `headers` say otherwise.
export function request(method, path, { headers = {}, body = '', version = '1.1' } = {}) {
  const all = { Host: 'taskwire.test', Connection: 'close', ...headers };
  if (body && !('Content-Length' in all)) all['Content-Length'] = Buffer.byteLength(body);
  const lines = Object.entries(all).filter(([, value]) => value !== null).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/${version}\r\n${lines.join('')}\r\n${body}`;
}
