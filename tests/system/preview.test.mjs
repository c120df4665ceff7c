// SPDX-License-Identifier: Apache-2.0
// What a rule would make of a due date: the same as a series does, with a note where a clock change moved something.
import { describe, it, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { Bench } from '../lib/program.mjs';
import { Client } from '../lib/client.mjs';
import { granted, refused } from '../lib/expect.mjs';

describe('the preview of a rule', { timeout: 300_000 }, () => {
  let bench;
  let me;

  before(async () => {
    bench = await Bench.start();
    me = await Client.register(bench.taskwire.url, { time_zone: 'Europe/Zurich' });
  });
  after(() => bench?.stop());

  const preview = async (body) => granted(await me.post('/v1/recurrence/preview', body)).items;
  const dues = async (body) => (await preview(body)).map((item) => item.due);

  it('shows the due date itself and what follows', async () => {
    assert.deepEqual(await preview({ rule: 'weekly', due: '2026-11-23T09:00', time_zone: 'Europe/Zurich', n: 3 }), [
      { due: '2026-11-23T09:00', due_at: '2026-11-23T08:00:00Z' },
      { due: '2026-11-30T09:00', due_at: '2026-11-30T08:00:00Z' },
      { due: '2026-12-07T09:00', due_at: '2026-12-07T08:00:00Z' },
    ]);
    assert.deepEqual(await dues({ rule: 'FREQ=MONTHLY', due: '2027-01-31', n: 4 }), ['2027-01-31', '2027-03-31', '2027-05-31', '2027-07-31']);
    assert.equal((await dues({ rule: 'daily', due: '2026-11-23' })).length, 5);
    assert.equal((await dues({ rule: 'daily', due: '2026-11-23', n: 500 })).length, 500);
    assert.deepEqual(await dues({ rule: 'monthly', due: '2027-01-31', n: 4 }), ['2027-01-31', '2027-02-28', '2027-03-31', '2027-04-30']);
    assert.deepEqual(await dues({ rule: 'FREQ=WEEKLY;BYDAY=MO', due: '2026-11-27T09:00', n: 3 }),
      ['2026-11-27T09:00', '2026-11-30T09:00', '2026-12-07T09:00'], 'the rule begins behind the due date');
    assert.deepEqual(await dues({ rule: 'daily', due: '2026-11-23', n: 1 }), ['2026-11-23']);
  });

  it('ends where the series ends', async () => {
    assert.deepEqual(await dues({ rule: 'FREQ=DAILY;COUNT=3', due: '2026-11-23', n: 10 }), ['2026-11-23', '2026-11-24', '2026-11-25']);
    assert.deepEqual(await dues({ rule: 'FREQ=DAILY;UNTIL=20261124', due: '2026-11-23', n: 10 }), ['2026-11-23', '2026-11-24']);
    assert.deepEqual(await dues({ rule: 'yearly', due: '9998-01-01', n: 10 }), ['9998-01-01', '9999-01-01']);
    refused(await me.post('/v1/recurrence/preview', { rule: 'FREQ=DAILY;UNTIL=20261122', due: '2026-11-23' }), 422, 'invalid', ['/rule']);
    for (const rule of ['FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30', 'FREQ=MONTHLY;BYDAY=MO;BYSETPOS=6', 'FREQ=WEEKLY;BYHOUR=9']) {
      refused(await me.post('/v1/recurrence/preview', { rule, due: '2026-11-23' }), 422, 'invalid', ['/rule']);
    }
  });

  it('notes where a clock change moved one', async () => {
    const gap = await preview({ rule: 'daily', due: '2026-03-28T02:30', time_zone: 'Europe/Zurich', n: 3 });
    assert.deepEqual(gap.map((item) => [item.due_at, 'note' in item]),
      [['2026-03-28T01:30:00Z', false], ['2026-03-29T01:30:00Z', true], ['2026-03-30T00:30:00Z', false]]);
    const overlap = await preview({ rule: 'daily', due: '2026-10-24T02:30', time_zone: 'Europe/Zurich', n: 3 });
    assert.deepEqual(overlap.map((item) => [item.due_at, 'note' in item]),
      [['2026-10-24T00:30:00Z', false], ['2026-10-25T00:30:00Z', true], ['2026-10-26T01:30:00Z', false]]);
    assert.ok((await preview({ rule: 'daily', due: '2026-03-28', time_zone: 'Europe/Zurich', n: 3 })).every((item) => !('note' in item)));
  });

  it('is in the zone that is named, else in that of the account', async () => {
    const rest = { rule: 'daily', due: '2026-11-23T09:00', n: 1 };
    for (const zone of [undefined, null, 'Europe/Zurich']) {
      assert.equal((await preview({ ...rest, time_zone: zone }))[0].due_at, '2026-11-23T08:00:00Z');
    }
    assert.equal((await preview({ ...rest, time_zone: 'Asia/Tokyo' }))[0].due_at, '2026-11-23T00:00:00Z');
    const instants = await preview({ rule: 'daily', due: '2026-03-28T09:00:00+01:00', n: 2 });
    assert.deepEqual(instants.map((item) => item.due), ['2026-03-28T08:00:00Z', '2026-03-29T07:00:00Z']);
  });

  it('is what the series does', async () => {
    const list = await me.list();
    const fields = { rule: 'FREQ=DAILY;INTERVAL=3', due: '2030-03-28T02:30' };
    const shown = await dues({ ...fields, n: 2 });
    const task = await me.task(list.id, { due: fields.due, recurrence: { rule: fields.rule } });
    granted(await me.post(`/v1/tasks/${task.id}/complete`));
    for (;;) {
      const { items } = granted(await me.get(`/v1/lists/${list.id}/tasks`));
      if (items.length === 0) continue;
      assert.equal(items[0].due, shown[1]);
      break;
    }
  });

  it('says what is wrong, all of it', async () => {
    const wrong = [
      [{}, ['/rule', '/due']],
      [{ rule: 'FREQ=HOURLY', due: 'tomorrow', time_zone: 'Nowhere/Atall', n: 0, extra: 1 }, ['/rule', '/due', '/time_zone', '/n', '/extra']],
      [{ rule: 7, due: 7, n: 'ten' }, ['/rule', '/due', '/n']],
      [{ rule: 'daily', due: '2026-11-23', n: 501 }, ['/n']],
      [{ rule: 'daily', due: '2026-11-23', time_zone: 5 }, ['/time_zone']],
      [[], ['']],
    ];
    for (const [body, pointers] of wrong) refused(await me.post('/v1/recurrence/preview', body), 422, 'invalid', pointers);
    refused(await me.post('/v1/recurrence/preview'), 400, 'malformed');
  });
});
