// SPDX-License-Identifier: Apache-2.0
// RFC 6455 frame by frame: what each sequence of bytes after the handshake is answered. The cases are those that
// conformance suites have, but for an echo, which taskwire is not: a message that is taken is a ping of the application.
import { describe, it, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { randomBytes } from 'node:crypto';
import { Bench } from '../lib/program.mjs';
import { Client } from '../lib/client.mjs';

const CONT = 0x0;
const TEXT = 0x1;
const BINARY = 0x2;
const CLOSE = 0x8;
const PING = 0x9;
const PONG = 0xa;
const FIN = 0x80;

// A masked frame; `lengthBytes` is how its length is said: 0, 2 or 8 more bytes.
function frame(opcode, payload = '', { fin = true, rsv = 0, lengthBytes } = {}) {
  const data = Buffer.from(payload);
  const mask = randomBytes(4);
  const bytes = lengthBytes ?? (data.length < 126 ? 0 : data.length < 65536 ? 2 : 8);
  const head = Buffer.alloc(2 + bytes);
  head[0] = (fin ? FIN : 0) | (rsv << 4) | opcode;
  head[1] = 0x80 | (bytes === 0 ? data.length : bytes === 2 ? 126 : 127);
  if (bytes === 2) head.writeUInt16BE(data.length, 2);
  if (bytes === 8) head.writeBigUInt64BE(BigInt(data.length), 2);
  return Buffer.concat([head, mask, Buffer.from(data.map((byte, i) => byte ^ mask[i % 4]))]);
}

const part = (opcode, payload) => frame(opcode, payload, { fin: false });
const close = (code, reason = '') => frame(CLOSE, Buffer.concat([Buffer.from([code >> 8, code & 0xff]), Buffer.from(reason)]));
const bye = close(1000);
const ask = (ref) => JSON.stringify({ op: 'ping', ref });

// The whole frames in a server's bytes: a list of [opcode, payload].
function parse(bytes) {
  const frames = [];
  for (let at = 0; at + 2 <= bytes.length;) {
    assert.equal(bytes[at] & 0x70, 0, 'no reserved bit');
    assert.equal(bytes[at + 1] & 0x80, 0, 'a server does not mask');
    let length = bytes[at + 1] & 0x7f;
    assert.ok(length < 127, 'no answer is that long');
    let head = 2;
    if (length === 126) [length, head] = [bytes.readUInt16BE(at + 2), 4];
    if (at + head + length > bytes.length) break;
    frames.push([bytes[at] & 0x0f, bytes.subarray(at + head, at + head + length)]);
    at += head + length;
  }
  return frames;
}

// Shortly: pongs by their payload, messages by their ref, a close by its code; what is not about the case is left out.
function shown([opcode, payload]) {
  if (opcode === CLOSE) return payload.length > 1 ? `close ${payload.readUInt16BE(0)}` : 'close';
  if (opcode === PONG) return `pong ${payload.length > 20 ? payload.length : payload}`;
  const message = JSON.parse(payload);
  return message.op === 'welcome' ? null : `${message.op} ${message.ref ?? ''}`.trim();
}

describe('WebSocket frames', { timeout: 300_000 }, () => {
  let bench;
  let me;

  before(async () => {
    bench = await Bench.start();
    me = await Client.register(bench.taskwire.url);
  });
  after(() => bench?.stop());

  // Shakes hands, sends the frames (in pieces of `piece` bytes), and answers what came until the server closed. A last
  // close of ours waits until there are `n_answers`: whoever got a close need not answer what was asked before. A client
  // that `waits` leaves it to the server to hang up.
  function talk(frames, n_answers = 0, piece = Infinity, waits = false) {
    const { hostname, port } = new URL(bench.taskwire.url);
    return new Promise((done, failed) => {
      const chunks = [];
      const left = [...frames];
      let isOpen = false;
      const said = () => {
        const bytes = Buffer.concat(chunks);
        return parse(bytes.subarray(bytes.indexOf('\r\n\r\n') + 4)).map(shown).filter((one) => one !== null);
      };
      const send = (bytes) => {
        for (let at = 0; at < bytes.length; at += piece) socket.write(bytes.subarray(at, at + piece));
      };
      const go = () => {
        while (left.length > 0) {
          if (left.length === 1 && left[0] === bye && said().length < n_answers) return;
          send(left.shift());
        }
      };
      const socket = connect({ host: hostname, port, noDelay: true }, () => {
        socket.write(`GET /v1/ws HTTP/1.1\r\nHost: ${hostname}:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
          `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n` +
          `Sec-WebSocket-Protocol: taskwire.v1.json\r\nAuthorization: Bearer ${me.token}\r\n\r\n`);
      });
      socket.setTimeout(20_000, () => failed(new Error(`the server did not close: ${said()}`)));
      socket.on('data', (chunk) => {
        chunks.push(chunk);
        if (!isOpen && !Buffer.concat(chunks).includes('\r\n\r\n')) return;
        if (!isOpen) assert.match(Buffer.concat(chunks).toString('latin1'), /^HTTP\/1\.1 101 /);
        isOpen = true;
        go();
        if (!waits && said().at(-1)?.startsWith('close')) socket.end(); // as a client that has closed too
      });
      socket.on('error', (error) => { if (!['ECONNRESET', 'EPIPE'].includes(error.code)) failed(error); });
      socket.on('close', () => done(said()));
    });
  }

  // What a case sends ends with a close if the server is not to end it. After a control frame of more than 125 bytes, or
  // a length that no message may have, libwebsockets hangs up without a close, as RFC 6455, 7.1.7 allows.
  const fine = [...new Array(3)].map((_, i) => Buffer.from(ask(['a', 'bä', '𝄞'][i])));
  const split = (bytes, at) => [bytes.subarray(0, at), bytes.subarray(at)];
  const fragments = (bytes, size) => {
    const pieces = [];
    for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size));
    return pieces.map((piece, i) => frame(i === 0 ? TEXT : CONT, piece, { fin: i === pieces.length - 1 }));
  };

  const cases = [
    ['a text in one frame', [frame(TEXT, fine[0]), bye], ['pong a', 'close 1000']],
    ['its length said in more bytes than needed', [frame(TEXT, fine[0], { lengthBytes: 2 }), frame(TEXT, fine[1], { lengthBytes: 8 }), bye],
      ['pong a', 'pong bä', 'close 1000']],
    ['a text in fragments of one byte', [...fragments(fine[2], 1), bye], ['pong 𝄞', 'close 1000']],
    ['a character that is cut between two fragments', [...split(fine[2], fine[2].length - 4).map((half, i) => frame(i ? CONT : TEXT, half, { fin: i === 1 })), bye],
      ['pong 𝄞', 'close 1000']],
    ['an empty fragment at the beginning, between and at the end', [part(TEXT, ''), part(CONT, fine[0]), part(CONT, ''), frame(CONT, ''), bye], ['pong a', 'close 1000']],
    ['many messages at once', [...Array(50).fill(frame(TEXT, fine[0])), bye], [...Array(50).fill('pong a'), 'close 1000']],
    ['a ping without payload', [frame(PING), bye], ['pong ', 'close 1000']],
    ['a ping with payload, which comes back', [frame(PING, 'hello'), bye], ['pong hello', 'close 1000']],
    ['a ping of 125 bytes', [frame(PING, 'x'.repeat(125)), bye], ['pong 125', 'close 1000']],
    ['a ping of 126 bytes', [frame(PING, 'x'.repeat(126))], []],
    ['a pong that nobody asked for', [frame(PONG, 'x'), frame(TEXT, fine[0]), bye], ['pong a', 'close 1000']],
    ['a ping between two fragments', [part(TEXT, '{"op":'), frame(PING, 'x'), frame(CONT, '"ping","ref":"a"}'), bye], ['pong x', 'pong a', 'close 1000']],
    ['a ping in fragments', [part(PING, 'x'), frame(CONT, 'y')], ['close 1002']],
    ...[1, 2, 4, 7].map((rsv) => [`reserved bits ${rsv}`, [frame(TEXT, fine[0], { rsv })], ['close 1002']]),
    ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((opcode) => [`opcode ${opcode}, which there is not`, [frame(opcode, 'x')], ['close 1002']]),
    ['a continuation of nothing', [frame(CONT, fine[0])], ['close 1002']],
    ['a continuation of nothing, more to come', [part(CONT, fine[0])], ['close 1002']],
    ['another text within a text', [part(TEXT, '{"op":'), frame(TEXT, fine[0])], ['close 1002']],
    ['binary in a text subprotocol', [frame(BINARY, 'x')], ['close 1003']],
    ['a text that is not UTF-8', [frame(TEXT, Buffer.from([0x22, 0xff, 0x22]))], ['close 1007']],
    ['a text that is not UTF-8 behind its first fragment', [part(TEXT, '"'), frame(CONT, Buffer.from([0xc3, 0x28, 0x22]))], ['close 1007']],
    ['half a surrogate pair', [frame(TEXT, Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]))], ['close 1007']],
    ['a character in more bytes than needed', [frame(TEXT, Buffer.from([0x22, 0xc0, 0xaf, 0x22]))], ['close 1007']],
    ['a character beyond the last', [frame(TEXT, Buffer.from([0x22, 0xf4, 0x90, 0x80, 0x80, 0x22]))], ['close 1007']],
    ['a text that ends within a character', [frame(TEXT, Buffer.from([0x22, 0xe2, 0x82]))], ['close 1007']],
    ['a close without a code', [frame(CLOSE)], ['close']],
    ...[1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999].map((code) =>
      [`a close with ${code}`, [close(code)], [`close ${code}`]]),
    ...[0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535].map((code) =>
      [`a close with ${code}, which may not be sent`, [close(code)], ['close 1002']]),
    ['a close with a reason', [close(1000, 'good bye')], ['close 1000']],
    ['a close with half a code', [frame(CLOSE, 'x')], ['close 1002']],
    ['a close with a reason that is not UTF-8', [close(1000, Buffer.from([0xff]))], ['close 1002']],
    ['a close of 126 bytes', [close(1000, 'x'.repeat(124))], []],
    ['what comes behind a close', [bye, frame(TEXT, fine[0])], ['close 1000']],
    ['a close between two fragments', [part(TEXT, '{"op":'), bye, frame(CONT, '"ping"}')], ['close 1000']],
    ['a message of more than 1 MiB', [frame(TEXT, `"${'x'.repeat(1 << 20)}"`)], ['close 1009']],
    ['fragments that together are more than 1 MiB', [part(TEXT, '"'), ...Array(17).fill(part(CONT, 'x'.repeat(65536)))], ['close 1009']],
  ];

  for (const [name, frames, expected] of cases) {
    it(`${name}: ${expected.length > 3 ? expected.at(-1) : expected.join(', ') || 'hung up on'}`, async () => {
      assert.deepEqual((await talk(frames, expected.length - 1)).sort(), [...expected].sort()); // pongs may overtake messages
    });
  }

  it('the pong of a ping that came within a message goes before what answers the message', async () => {
    const frames = [part(TEXT, '{"op":'), frame(PING, 'x'), frame(CONT, '"ping","ref":"a"}'), bye];
    for (let i = 0; i < 10; i++) assert.deepEqual(await talk([Buffer.concat(frames.slice(0, 3)), bye], 2), ['pong x', 'pong a', 'close 1000']);
  });

  it('after a close that says what may not be said the server hangs up by itself, without waiting for the client', async () => {
    for (const broken of [frame(CLOSE, 'x'), close(1000, Buffer.from([0xff])), close(5000)]) {
      const began = Date.now();
      assert.deepEqual(await talk([broken], 0, Infinity, true), ['close 1002']);
      assert.ok(Date.now() - began < 3000, 'at once, not at a deadline');
    }
  });

  it('a length with its highest bit set, or far beyond any limit, ends the connection at once', async () => {
    for (const length of [0x8000000000000001n, 0x7fffffffffffffffn, 0x100000000n]) {
      const head = Buffer.alloc(15); // with a mask of zeroes and the first byte
      head[0] = FIN | TEXT;
      head[1] = 0x80 | 127;
      head.writeBigUInt64BE(length, 2);
      const answer = await talk([head]);
      assert.ok(['', 'close 1009'].includes(answer.join()), answer.join());
    }
  });

  it('frames may come byte by byte', async () => {
    const frames = [frame(TEXT, fine[0]), frame(PING, 'x'), ...fragments(fine[2], 7), frame(TEXT, fine[1], { lengthBytes: 8 }), bye];
    assert.deepEqual((await talk(frames, 4, 1)).sort(), ['close 1000', 'pong a', 'pong bä', 'pong x', 'pong 𝄞']);
  });
});
