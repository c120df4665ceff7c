// SPDX-License-Identifier: Apache-2.0
// Every path and method, and what each of those who may come gets: one table, which also has to agree with the
// program's routes and with the description of the interface that it serves; and so has every answer.
import { describe, it, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Bench, root } from '../lib/program.mjs';
import { Client, uuid } from '../lib/client.mjs';
import { granted, refused } from '../lib/expect.mjs';
import { Description, routes } from '../lib/contract.mjs';

const who = ['nobody', 'stranger', 'former member', 'viewer', 'editor', 'owner'];
const title = { title: 'x' };
const row = (method, path, statuses, body, fresh) => ({ method, path, statuses, body, fresh });

// In the order of `who`.
const ALL = (status) => [status, status, status, status, status, status];
const MINE = (status) => [401, status, status, status, status, status]; // whoever is logged in, for themselves
const READ = [401, 404, 404, 200, 200, 200];
const EDIT = (status) => [401, 404, 404, 403, status, status];
const OWN = (status) => [401, 404, 404, 403, 403, status];
const ONLY_OWNER_SEES = (status) => [401, 404, 404, 404, 404, status];

const table = [
  row('POST', '/v1/accounts', ALL(422), {}),
  row('POST', '/v1/sessions', ALL(422), {}),
  row('DELETE', '/v1/sessions/current', MINE(204)),
  row('GET', '/v1/me', MINE(200)),
  row('PATCH', '/v1/me', MINE(200), { name: 'x' }),
  row('DELETE', '/v1/me', MINE(204)),
  row('GET', '/v1/me/events', MINE(200)),
  row('GET', '/v1/tokens', MINE(200)),
  row('POST', '/v1/tokens', MINE(201), { name: 'x', scopes: ['read'] }),
  row('DELETE', '/v1/tokens/{token}', ONLY_OWNER_SEES(204)),
  row('GET', '/v1/lists', MINE(200)),
  row('POST', '/v1/lists', MINE(201), title),
  row('GET', '/v1/lists/{list}', READ),
  row('PATCH', '/v1/lists/{list}', OWN(200), title),
  row('DELETE', '/v1/lists/{list}', OWN(204), undefined, 'list'),
  row('POST', '/v1/lists/{list}/restore', ONLY_OWNER_SEES(200), undefined, 'deleted list'),
  row('GET', '/v1/lists/{list}/members', READ),
  row('POST', '/v1/lists/{list}/members', OWN(201), { email: '{email}', role: 'viewer' }),
  row('PATCH', '/v1/lists/{list}/members/{account}', OWN(200), { role: 'viewer' }),
  row('DELETE', '/v1/lists/{list}/members/{account}', [401, 404, 404, 204, 403, 204], undefined, 'list'),
  row('GET', '/v1/lists/{list}/tasks', READ),
  row('POST', '/v1/lists/{list}/tasks', EDIT(201), title),
  row('GET', '/v1/lists/{list}/events', READ),
  row('GET', '/v1/tasks', MINE(200)),
  row('GET', '/v1/tasks/{task}', READ),
  row('PATCH', '/v1/tasks/{task}', EDIT(200), title),
  row('DELETE', '/v1/tasks/{task}', EDIT(200)),
  row('POST', '/v1/tasks/{task}/complete', EDIT(200)),
  row('POST', '/v1/tasks/{task}/reopen', EDIT(200)),
  row('POST', '/v1/tasks/{task}/move', EDIT(200), { list: '{list}' }),
  row('POST', '/v1/tasks/{task}/snooze', EDIT(200), { for: 'PT1H' }),
  row('POST', '/v1/tasks/{task}/restore', EDIT(200)),
  row('POST', '/v1/tasks/{task}/reminders/{reminder}/dismiss', READ),
  row('GET', '/v1/reminders', MINE(200)),
  row('GET', '/v1/tasks/{task}/history', READ),
  row('GET', '/v1/series/{series}', READ),
  row('PATCH', '/v1/series/{series}', EDIT(200), title),
  row('DELETE', '/v1/series/{series}', EDIT(200)),
  row('POST', '/v1/commands', MINE(200), { commands: [] }),
  row('POST', '/v1/recurrence/preview', MINE(200), { rule: 'daily', due: '2026-11-23' }),
  row('GET', '/v1/audit/{list}/verify', READ),
  row('GET', '/openapi.yaml', ALL(200)),
  row('GET', '/asyncapi.yaml', ALL(200)),
  row('GET', '/healthz', ALL(200)),
  row('GET', '/readyz', ALL(200)),
];

// No part of what the description describes.
const others = [
  row('GET', '/v1/ws', ALL(400)),
  row('GET', '/metrics', ALL(404)),
  row('GET', '/actors', ALL(404)),
  row('GET', '/', ALL(404)),
  row('GET', '/v1/lists/{list}/nothing', ALL(404)),
];

const codes = {
  400: 'malformed', 401: 'unauthenticated', 403: 'forbidden', 404: 'not_found', 422: 'invalid',
};

const description = Description.read('openapi.yaml');

describe('the contract', { timeout: 600_000 }, () => {
  let bench;
  let people;
  let list;

  before(async () => {
    bench = await Bench.start();
    people = Object.fromEntries(await Promise.all(who.map(async (name) =>
      [name, name === 'nobody' ? new Client(bench.taskwire.url) : await Client.register(bench.taskwire.url)])));
    list = await shared();
  });
  after(() => bench?.stop());

  async function shared() {
    const made = await people.owner.list();
    for (const role of ['viewer', 'editor']) {
      granted(await people.owner.post(`/v1/lists/${made.id}/members`, { email: people[role].email, role }), 201);
    }
    const former = people['former member'];
    granted(await people.owner.post(`/v1/lists/${made.id}/members`, { email: former.email, role: 'owner' }), 201);
    assert.equal((await people.owner.delete(`/v1/lists/${made.id}/members/${former.account}`)).status, 204);
    return made;
  }

  // Something fresh for each request to act on, so that rows do not depend on each other.
  async function fill(text, fresh) {
    const values = { list: (fresh ? await shared() : list).id, account: people.viewer.account, reminder: people.viewer.account };
    if (fresh === 'deleted list') assert.equal((await people.owner.delete(`/v1/lists/${values.list}`)).status, 204);
    if (text.includes('{task}')) values.task = (await people.owner.task(list.id)).id;
    if (text.includes('{series}')) {
      values.series = (await people.owner.task(list.id, { due: '2030-01-01', recurrence: { rule: 'daily' } })).series;
    }
    if (text.includes('{token}')) values.token = granted(await people.owner.post('/v1/tokens', { name: 'x', scopes: ['read'] }), 201).id;
    if (text.includes('{email}')) values.email = (await Client.register(bench.taskwire.url)).email;
    return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
  }

  // Logging out is done with a session of its own.
  async function somebody(name, method, path) {
    const person = people[name];
    if (name !== 'nobody' && method === 'DELETE' && path === '/v1/me') return Client.register(person.url);
    if (name === 'nobody' || path !== '/v1/sessions/current') return person;
    const login = await new Client(person.url).post('/v1/sessions', { email: person.email, password: person.password });
    return new Client(person.url, granted(login, 201).token);
  }

  for (const { method, path, statuses, body, fresh } of [...table, ...others]) {
    const isDescribed = table.some((one) => one.method === method && one.path === path);
    it(`${method} ${path}: ${statuses.map((status, i) => `${who[i]} ${status}`).join(', ')}`, async () => {
      for (const [i, status] of statuses.entries()) {
        const [url, data] = [await fill(path, fresh), body && JSON.parse(await fill(JSON.stringify(body)))];
        const answer = await (await somebody(who[i], method, path)).request(method, url, data);
        if (status < 300) granted(answer, status);
        else refused(answer, status, codes[status]);
        if (isDescribed) description.check(method, path, answer);
      }
    });
  }

  it('whatever a stranger tries, nothing has happened to what is not theirs', async () => {
    const task = await people.owner.task(list.id);
    const before = granted(await people.owner.get(`/v1/lists/${list.id}`));
    for (const name of ['nobody', 'stranger', 'former member', 'viewer']) {
      for (const { method, path, statuses, body } of table) {
        if (method === 'GET' || statuses[who.indexOf(name)] < 300) continue;
        const url = path.replace('{list}', list.id).replace('{task}', task.id).replace('{token}', uuid())
          .replace('{account}', people.editor.account);
        await people[name].request(method, url, body);
      }
    }
    assert.deepEqual(granted(await people.owner.get(`/v1/lists/${list.id}`)), before);
    assert.deepEqual(granted(await people.owner.get(`/v1/tasks/${task.id}`)), task);
  });

  it('the description of the interface names exactly these paths and methods', async () => {
    const { text } = await people.nobody.get('/openapi.yaml');
    const described = new Description(text).operations().map(({ method, path }) => `${method} ${path}`);
    assert.deepEqual(described.sort(), table.map((one) => `${one.method} ${one.path}`).sort());
  });

  it('the program has exactly these routes', () => {
    const known = (rows) => rows.map((one) => `${one.method} ${one.path}`);
    const there = routes();
    assert.ok(there.length > 30);
    assert.deepEqual(there.filter((one) => !known([...table, ...others]).includes(one)), [], 'routes that this table lacks');
    assert.deepEqual(known(table).filter((one) => !there.includes(one)), [], 'rows without a route');
  });

  // --- refusals ---

  const task = async (fields) => `/v1/tasks/${(await people.owner.task(list.id, fields)).id}`;
  const members = () => `/v1/lists/${list.id}/members`;
  const json = { 'Content-Type': 'application/json' };

  // A request that is refused with each code, with its status.
  const refusals = {
    malformed: [400, () => people.owner.get('/v1/tasks?nothing=1')],
    unauthenticated: [401, () => people.nobody.get('/v1/me')],
    forbidden: [403, () => people.viewer.patch(`/v1/lists/${list.id}`, title)],
    not_found: [404, () => people.stranger.get(`/v1/lists/${list.id}`)],
    method_not_allowed: [405, () => people.owner.request('PUT', `/v1/lists/${list.id}`, title)],
    exists: [409, () => people.owner.post('/v1/lists', { id: list.id, title: 'Another' })],
    idempotency_mismatch: [409, async () => {
      const headers = { 'Idempotency-Key': uuid() };
      granted(await people.owner.post('/v1/lists', title, headers), 201);
      return people.owner.post('/v1/lists', { title: 'Another' }, headers);
    }],
    conflict: [409, () => people.owner.patch(`${members()}/${people.owner.account}`, { role: 'viewer' })],
    resync_required: [410, () => people.owner.get(`/v1/lists/${list.id}/events?after=1&epoch=another`)],
    precondition_failed: [412, async () => {
      const path = await task();
      const { headers } = await people.owner.get(path);
      granted(await people.owner.patch(path, title));
      return people.owner.patch(path, { title: 'Late' }, { 'If-Match': headers.get('etag') });
    }],
    too_large: [413, () => people.owner.post('/v1/lists', `{"title":"${'x'.repeat(1 << 20)}"}`, json)],
    unsupported_media_type: [415, () => people.owner.post('/v1/lists', 'title=x', { 'Content-Type': 'text/plain' })],
    invalid: [422, () => people.owner.post('/v1/lists', { title: '' })],
    rate_limited: [429, async () => {
      const login = { email: people.stranger.email, password: 'not this one' };
      for (let i = 0; i < 10; i++) refused(await people.nobody.post('/v1/sessions', login), 401, 'unauthenticated');
      return people.nobody.post('/v1/sessions', login);
    }],
    unavailable: [503, () => people.owner.get(`/v1/lists/${list.id}?min_rev=1000000`)],
    overloaded: [503, async () => {
      const many = Array.from({ length: 200 }, () => people.owner.get(`/v1/audit/${list.id}/verify`));
      return (await Promise.all(many)).find((answer) => answer.status === 503);
    }],
  };

  // What needs more than a request, and where it is provoked.
  const elsewhere = { outcome_unknown: 'tests/fault/commit.test.mjs', aborted: 'tests/system/commands.test.mjs' };
  const never = ['internal', 'not_implemented'];

  for (const [code, [status, provoke]] of Object.entries(refusals)) {
    it(`${status} ${code} can be had`, async () => { refused(await provoke(), status, code); });
  }

  it('every refusal that the description and the program know is among those', () => {
    const described = description.doc.components.schemas.Problem.properties.code.enum;
    const known = [...Object.keys(refusals), ...Object.keys(elsewhere), ...never];
    assert.deepEqual([...described].sort(), known.sort());
    const rows = readFileSync(join(root, 'schema/err.h'), 'utf8').matchAll(/^ {4}X\(\w+, "(\w+)"/gm);
    const codesOfProgram = new Set([...rows].map(([, code]) => code).filter((code) => code !== 'ok'));
    assert.deepEqual([...codesOfProgram].sort(), [...described].sort());
    for (const [code, file] of Object.entries(elsewhere)) assert.ok(readFileSync(join(root, file), 'utf8').includes(`'${code}'`));
  });
});
