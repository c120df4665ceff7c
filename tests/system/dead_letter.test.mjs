// SPDX-License-Identifier: Apache-2.0
// `taskwire dead-letter`: what could not be handled, for people.
import { after, before, describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { Bench, command } from '../lib/program.mjs';
import { Client } from '../lib/client.mjs';

describe('dead letters', { timeout: 120_000 }, () => {
  let bench;
  let task;

  const run = (...args) => command(['dead-letter', ...args], { TASKWIRE_DATABASE_URL: bench.databaseUrl });
  const insert = async (columns, values) => Number(await bench.cluster.value(
    `INSERT INTO dead_letter (actor, reason, attempts, ${columns}) VALUES ('consumer', 'it is not ours', 3, ${values}) RETURNING id`));
  const record = (offset, key, value, size, headers = "''") => insert('topic, partition, record_offset, digest, record_key, value, value_bytes, headers',
    `'task-events', 2, ${offset}, '', ${key}, ${value}, ${size}, ${headers}`);

  async function shown(id) {
    const { code, stdout, stderr } = await run('show', String(id));
    assert.equal(code, 0, stderr);
    assert.doesNotMatch(stdout, /[\x00-\x08\x0b-\x1f\x7f]/, 'nothing that a terminal obeys');
    return stdout;
  }

  before(async () => {
    bench = await Bench.start();
    const ann = await Client.register(bench.taskwire.url);
    const list = await ann.list();
    task = await ann.task(list.id, { title: 'Refused' });
  });

  after(() => bench?.stop());

  it('there are none at first', async () => {
    const { code, stdout } = await run('list');
    assert.deepEqual([code, stdout], [0, '']);
  });

  it('an event that an actor refused is shown with what it says', async () => {
    const id = await insert('event_id, stream, rev', `(SELECT id FROM event WHERE task = '${task.id}'), '${task.list}', ${task.rev}`);
    const text = await shown(id);
    assert.match(text, /^actor: +consumer$/m);
    assert.match(text, /^reason: +it is not ours$/m);
    assert.match(text, /^attempts: +3$/m);
    assert.match(text, new RegExp(`^origin: +event ${task.list}/${task.rev}$`, 'm'));
    assert.match(text, /^published: not yet$/m);
    assert.equal(JSON.parse(text.trim().split('\n').at(-1)).after.title, 'Refused');
    await bench.cluster.value(`UPDATE event SET body = NULL, salt = NULL, fingerprint = NULL WHERE task = '${task.id}'`);
    assert.match(await shown(id), /purged/);
  });

  it('a record is shown as text, as JSON or as digits, whichever it is', async () => {
    const headers = "'\\x9192c403616263c403646566'"; // [["abc", "def"]]
    const json = await record(1, "'key'", "'{\"a\": 1}'", 8, headers);
    const text = await shown(json);
    assert.match(text, /^origin: +task-events\/2@1$/m);
    assert.match(text, /^key: +"key"$/m);
    assert.match(text, /^header: +"abc" = "def"$/m);
    assert.match(text, /^value: +8 bytes\n\n\{"a": 1\}$/m);
    assert.match(await shown(await record(2, 'NULL', "'\\x81a161c3'", 4)), /^key: +none$[^]*\n\{"a":true\}$/m);
    assert.match(await shown(await record(3, "'\\x1b5b33316d'", "'\\x1b5b33316d41'", 6)), /^key: +0x1b5b33316d$[^]*\n0{8} +1b 5b 33 31 6d 41 +\.\[31mA$/m);
    assert.match(await shown(await record(4, "'key'", 'NULL', 'NULL')), /^value: +none$/m);
    assert.match(await shown(await record(5, "'key'", "'abc'", 1_000_000)), /1000000 bytes, the first 3 of which are here/);
    assert.match(await shown(await record(6, "'k'", "'\\x4100'", 2)), /41 00/);
    assert.match(await shown(await record(7, "'k'", "'\\xc29b33316d'", 5)), /c2 9b 33/);
    assert.match(await shown(await record(8, "'k'", "'x'", 1, "'\\x9192c4'")), /^value: +1 bytes$/m);
  });

  it('whether its topic has it is said', async () => {
    for (const [how, words] of [['whole', /^published: yes$/m], ['cut', /^published: yes, without its value/m], ['refused', /^published: no: Kafka/m]]) {
      const id = await record(0, "'k'", `'${how}'`, 1);
      await bench.cluster.value(`UPDATE dead_letter SET published = '${how}' WHERE id = ${id}`);
      assert.match(await shown(id), words);
      await bench.cluster.value(`DELETE FROM dead_letter WHERE id = ${id}`);
    }
  });

  it('a list has the newest first, and as many as are asked for', async () => {
    const { stdout } = await run('list', '--limit', '2');
    const lines = stdout.trim().split('\n');
    assert.equal(lines.length, 2);
    assert.match(lines[0], /^\d+ +\S+Z {2}consumer {2}3 {2}task-events\/2@8 {2}it is not ours$/);
    assert.match(lines[1], /task-events\/2@7/);
    const all = (await run('list')).stdout.trim().split('\n');
    assert.equal(all.length, 9);
    assert.match(all.at(-1), new RegExp(`event ${task.list}/${task.rev}`));
  });

  it('what is none is said, and nonsense is refused', async () => {
    assert.equal((await run('show', '999999')).code, 1);
    for (const args of [['show', 'x'], ['show', '0'], ['show', '-1'], ['list', '--limit', '0'], ['list', '--limit', '1e3'], ['show'], []]) {
      assert.equal((await run(...args)).code, 64, args.join(' '));
    }
    const { code, stderr } = await command(['dead-letter', 'list'], { TASKWIRE_DATABASE_URL: `${bench.databaseUrl}_none` });
    assert.equal(code, 78, stderr);
  });
});
