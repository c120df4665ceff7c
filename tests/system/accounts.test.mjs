// SPDX-License-Identifier: Apache-2.0
// Who is who: registering, logging in and out, tokens and what they may do, one's own account.
import { describe, it, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { Bench } from '../lib/program.mjs';
import { Client, uuid } from '../lib/client.mjs';
import { granted, refused } from '../lib/expect.mjs';
import { waitFor } from '../lib/wait.mjs';

const password = 'correct horse battery staple';
const PUBLIC_URL = 'https://tasks.example.org';

describe('accounts', { timeout: 600_000 }, () => {
  let bench;
  let open; // registration open; believes X-Forwarded-For, so that every test may come from an address of its own
  let closed; // the same database, registration closed, behind HTTPS
  let n = 0;

  const from = () => ({ 'X-Forwarded-For': `192.0.2.${++n}` });
  const email = () => `${randomBytes(6).toString('hex')}@example.org`;
  const anyone = () => new Client(open.url);
  const as = (token, url = open.url) => new Client(url, token);
  const cookie = (answer) => answer.headers.get('set-cookie').split(';')[0];

  // A token for a program.
  async function tokenOf(client, fields) {
    const made = granted(await client.post('/v1/tokens', { name: 'a program', scopes: ['read', 'write'], ...fields }), 201);
    return Object.assign(as(made.token), { id: made.id });
  }

  before(async () => {
    bench = await Bench.start({ settings: { REGISTRATION: 'closed', PUBLIC_URL } });
    closed = bench.taskwire;
    open = await bench.program({ TRUSTED_PROXIES: '10.0.0.0/8, 127.0.0.0/8', ALLOWED_ORIGINS: 'https://app.example.org' }).start();
  });
  after(() => bench?.stop());

  // --- registering ---

  it('the first account can be created where registration is closed, the second cannot', async () => {
    const visitor = new Client(closed.url);
    const first = granted(await visitor.post('/v1/accounts', { email: email(), password }), 201);
    assert.equal(first.account.time_zone, 'UTC', 'the default zone');
    refused(await visitor.post('/v1/accounts', { email: email(), password }), 403, 'forbidden');
    granted(await anyone().post('/v1/accounts', { email: email(), password }), 201);
  });

  it('of many first accounts at the same instant, at two programs, one is made', async () => {
    for (const name of ['first_a', 'first_b']) {
      const url = await bench.database(name);
      const programs = [];
      for (let i = 0; i < 2; i++) programs.push(await bench.program({ REGISTRATION: 'closed', GATEWAYS: 2 }, url).start());
      const answers = await Promise.all(Array.from({ length: 8 }, (_, i) => new Client(programs[i % 2].url).post('/v1/accounts', { email: email(), password })));
      const made = answers.filter((answer) => answer.status === 201);
      assert.equal(made.length, 1, answers.map((answer) => answer.status).join());
      for (const answer of answers) if (answer !== made[0]) refused(answer, 403, 'forbidden');
      assert.equal(await bench.cluster.value('SELECT count(*) FROM account', name), '1');
      for (const program of programs) await program.stop();
    }
  });

  it('a new account comes with a session, as a token and as a cookie', async () => {
    const answer = await anyone().post('/v1/accounts', {
      email: 'New.Person@Example.org', password, name: 'Zoë 🌱', time_zone: 'Asia/Kathmandu',
    });
    const { account, token } = granted(answer, 201);
    assert.equal(answer.headers.get('location'), '/v1/me');
    assert.deepEqual(Object.keys(account).sort(), ['all_day_reminder_time', 'created_at', 'email', 'id', 'name', 'rev', 'time_zone', 'updated_at']);
    assert.equal(account.name, 'Zoë 🌱');
    assert.equal(account.time_zone, 'Asia/Kathmandu');
    const set = answer.headers.get('set-cookie');
    for (const part of [token, 'Path=/', 'HttpOnly', 'SameSite=Lax', 'Max-Age=']) assert.ok(set.includes(part), set);
    assert.doesNotMatch(set, /Secure/);
    assert.deepEqual(granted(await as(token).get('/v1/me')), account);
    assert.deepEqual(granted(await anyone().get('/v1/me', { Cookie: `other=1; ${cookie(answer)}` })), account);
  });

  it('behind HTTPS the cookie is Secure', async () => {
    const somebody = await Client.register(open.url);
    const answer = await new Client(closed.url).post('/v1/sessions', { email: somebody.email, password });
    granted(answer, 201);
    assert.match(answer.headers.get('set-cookie'), /; Secure/);
    const forwarded = await anyone().post('/v1/sessions', { email: somebody.email, password },
      { ...from(), 'X-Forwarded-Proto': 'https' });
    assert.match(forwarded.headers.get('set-cookie'), /; Secure/);
    const plain = await anyone().post('/v1/sessions', { email: somebody.email, password },
      { ...from(), 'X-Forwarded-Proto': 'https, http' });
    assert.doesNotMatch(plain.headers.get('set-cookie'), /Secure/);
  });

  it('registering twice with the same key is registering once, and only with the same password', async () => {
    const key = { 'Idempotency-Key': uuid() };
    const body = { email: email(), password };
    const first = await anyone().post('/v1/accounts', body, { ...key, ...from() });
    const second = await anyone().post('/v1/accounts', body, { ...key, ...from() });
    granted(first, 201);
    granted(second, 201);
    assert.equal(first.headers.get('idempotent-replay'), null);
    assert.equal(second.headers.get('idempotent-replay'), 'true');
    assert.equal(second.body.account.id, first.body.account.id);
    for (const { token } of [first.body, second.body]) granted(await as(token).get('/v1/me'));
    const other = await anyone().post('/v1/accounts', { ...body, password: 'something else' }, { ...key, ...from() });
    refused(other, 409, 'idempotency_mismatch');
  });

  it('an address is taken once, however it is written', async () => {
    const body = { email: `Mixed.${email()}`, password };
    granted(await anyone().post('/v1/accounts', body), 201);
    refused(await anyone().post('/v1/accounts', body), 409, 'exists');
    refused(await anyone().post('/v1/accounts', { ...body, email: body.email.toUpperCase() }), 409, 'exists');
  });

  it('of many who want the same address at once, one gets it', async () => {
    const body = { email: email(), password };
    const answers = await Promise.all(Array.from({ length: 6 }, () => anyone().post('/v1/accounts', body, from())));
    assert.deepEqual(answers.map((answer) => answer.status).sort(), [201, 409, 409, 409, 409, 409]);
  });

  it('a registration that is wrong is refused with a pointer to each wrong value', async () => {
    const good = { email: email(), password };
    for (const [change, ...pointers] of [
      [{ email: undefined }, '/email'],
      [{ email: null }, '/email'],
      [{ email: 'nobody' }, '/email'],
      [{ email: 'a@b@c' }, '/email'],
      [{ email: 'a b@example.org' }, '/email'],
      [{ email: `${'a'.repeat(250)}@example.org` }, '/email'],
      [{ password: undefined }, '/password'],
      [{ password: 'short' }, '/password'],
      [{ password: 12345678 }, '/password'],
      [{ password: 'x'.repeat(1025) }, '/password'],
      [{ name: 'n'.repeat(201) }, '/name'],
      [{ name: 'two\nlines' }, '/name'],
      [{ time_zone: 'Mars/Olympus' }, '/time_zone'],
      [{ time_zone: null }, '/time_zone'],
      [{ password_hash: 'x' }, '/password_hash'],
      [{ id: uuid() }, '/id'],
      [{ email: 1, password: 'short' }, '/email', '/password'],
    ]) {
      refused(await anyone().post('/v1/accounts', { ...good, ...change }), 422, 'invalid', pointers);
    }
  });

  // --- logging in ---

  it('a login gives a further session; the address may be written in another case', async () => {
    const somebody = await Client.register(open.url);
    const answer = await anyone().post('/v1/sessions', { email: somebody.email.toUpperCase(), password }, from());
    const { account, token } = granted(answer, 201);
    assert.equal(account.id, somebody.account);
    assert.notEqual(token, somebody.token);
    for (const one of [token, somebody.token]) granted(await as(one).get('/v1/me'));
  });

  it('a wrong password and an address that nobody has get the same answer', async () => {
    const somebody = await Client.register(open.url);
    const wrong = await anyone().post('/v1/sessions', { email: somebody.email, password: 'not the password' }, from());
    const nobody = await anyone().post('/v1/sessions', { email: email(), password: 'not the password' }, from());
    const [a, b] = [wrong, nobody].map((answer) => refused(answer, 401, 'unauthenticated'));
    assert.deepEqual({ ...a, instance: '' }, { ...b, instance: '' });
    const names = (answer) => [...answer.headers.keys()].sort();
    assert.deepEqual(names(wrong), names(nobody));
  });

  it('a login that is wrong in form is refused', async () => {
    refused(await anyone().post('/v1/sessions', {}, from()), 422, 'invalid', ['/email', '/password']);
    refused(await anyone().post('/v1/sessions', { email: email(), password, remember: true }, from()), 422, 'invalid',
      ['/remember']);
  });

  // Fails on purpose until it has been told to wait twice, for a longer time the second time.
  async function failUntilLimited(attempt) {
    const waits = [];
    let failed = 0;
    await waitFor(async () => {
      const answer = await attempt();
      if (answer.status === 401) {
        failed++;
      } else {
        refused(answer, 429, 'rate_limited');
        if (waits.length === 0) assert.ok(failed >= 10, `limited after ${failed} failures`);
        waits.push(Number(answer.headers.get('retry-after')));
      }
      return Math.max(...waits) > waits[0];
    }, 'a second, longer wait', 60_000);
  }

  it('after ten failures in a row an account is closed to logins, each time for longer', async () => {
    const somebody = await Client.register(open.url);
    await failUntilLimited(() => anyone().post('/v1/sessions', { email: somebody.email, password: 'wrong' }, from()));
    refused(await anyone().post('/v1/sessions', { email: somebody.email, password }, from()), 429, 'rate_limited');
    granted(await somebody.get('/v1/me'));
    const login = await waitFor(async () => {
      const answer = await anyone().post('/v1/sessions', { email: somebody.email, password }, from());
      return answer.status !== 429 && answer;
    }, 'the limit passes');
    granted(login, 201);
    for (let i = 0; i < 3; i++) {
      const answer = await anyone().post('/v1/sessions', { email: somebody.email, password: 'wrong' }, from());
      refused(answer, 401, 'unauthenticated');
    }
  });

  it('failures in a row count whichever gateway they came to', async () => {
    const several = await bench.program({ TRUSTED_PROXIES: '127.0.0.1', GATEWAYS: 4 }).start();
    const somebody = await Client.register(several.url);
    const answers = [];
    for (let i = 0; i < 24; i++) {
      answers.push(await new Client(several.url).post('/v1/sessions', { email: somebody.email, password: 'wrong' }, { ...from(), Connection: 'close' }));
    }
    const failed = answers.filter((answer) => answer.status === 401).length;
    assert.ok(failed >= 10 && failed < 20, `${failed} failures before the limit`);
    for (const answer of answers) if (answer.status !== 401) refused(answer, 429, 'rate_limited');
    await several.stop();
  });

  it('after ten failures in a row an address is closed to logins, whichever account it tries', async () => {
    const here = from();
    await failUntilLimited(() => anyone().post('/v1/sessions', { email: email(), password: 'wrong' }, here));
    const somebody = await Client.register(open.url);
    refused(await anyone().post('/v1/sessions', { email: somebody.email, password }, here), 429, 'rate_limited');
    granted(await anyone().post('/v1/sessions', { email: somebody.email, password }, from()), 201);
  });

  // --- cookies and where they come from ---

  it('with a cookie, a change needs an Origin that is allowed', async () => {
    const somebody = await Client.register(open.url);
    const login = await anyone().post('/v1/sessions', { email: somebody.email, password }, from());
    const browser = (origin) => ({ Cookie: cookie(login), ...(origin && { Origin: origin }) });
    const make = (headers) => anyone().post('/v1/lists', { title: 'From a page' }, headers);
    granted(await anyone().get('/v1/lists', browser()));
    refused(await make(browser()), 403, 'forbidden');
    for (const origin of ['https://evil.example', 'null', `${open.url}.evil.example`, 'https://app.example.org.evil']) {
      const answer = await make(browser(origin));
      refused(answer, 403, 'forbidden');
      assert.equal(answer.headers.get('access-control-allow-origin'), null);
    }
    for (const origin of [open.url, 'https://app.example.org']) {
      const answer = await make(browser(origin));
      granted(answer, 201);
      assert.equal(answer.headers.get('access-control-allow-origin'), origin);
      assert.equal(answer.headers.get('access-control-allow-credentials'), 'true');
      assert.match(answer.headers.get('vary'), /Origin/);
    }
    const forwarded = { ...browser(open.url), 'X-Forwarded-Proto': 'https' };
    refused(await make(forwarded), 403, 'forbidden');
    granted(await make({ ...forwarded, Origin: open.url.replace('http', 'https') }), 201);
    granted(await new Client(closed.url).post('/v1/lists', { title: 'A list' }, browser(PUBLIC_URL)), 201);
    granted(await somebody.post('/v1/lists', { title: 'A list' }, { Origin: 'https://evil.example' }), 201);
  });

  it('a page of another origin is told beforehand whether it may ask', async () => {
    const ask = (origin) => anyone().request('OPTIONS', '/v1/lists', undefined, {
      Origin: origin, 'Access-Control-Request-Method': 'POST',
    });
    const allowed = await ask('https://app.example.org');
    granted(allowed, 204);
    assert.match(allowed.headers.get('access-control-allow-methods'), /POST/);
    assert.deepEqual(allowed.headers.get('access-control-allow-headers').toLowerCase().split(', ').sort(), ['authorization', 'content-type',
      'idempotency-key', 'if-match', 'if-none-match', 'last-event-id', 'traceparent', 'tracestate']);
    assert.ok(Number(allowed.headers.get('access-control-max-age')) > 0);
    assert.equal(allowed.headers.get('access-control-allow-origin'), 'https://app.example.org');
    assert.equal(allowed.headers.get('access-control-allow-credentials'), 'true');
    assert.match(allowed.headers.get('vary'), /Origin/);
    const shown = (await anyone().get('/v1/me', { Origin: 'https://app.example.org' })).headers.get('access-control-expose-headers');
    for (const name of ['ETag', 'Location', 'Command-Id', 'Idempotent-Replay', 'Request-Id', 'Retry-After', 'Successor-Kept']) assert.ok(shown.split(', ').includes(name));
    const other = await ask('https://evil.example');
    assert.equal(other.headers.get('access-control-allow-methods'), null);
    assert.equal(other.headers.get('access-control-allow-origin'), null);
  });

  it('logging out ends the session everywhere, and no other', async () => {
    const somebody = await Client.register(open.url);
    const login = await anyone().post('/v1/sessions', { email: somebody.email, password }, from());
    const elsewhere = as(login.body.token, closed.url);
    granted(await elsewhere.get('/v1/me'));
    const out = await as(login.body.token).delete('/v1/sessions/current');
    granted(out, 204);
    assert.match(out.headers.get('set-cookie'), /Max-Age=0/);
    refused(await as(login.body.token).get('/v1/me'), 401, 'unauthenticated');
    refused(await anyone().get('/v1/me', { Cookie: cookie(login) }), 401, 'unauthenticated');
    await waitFor(async () => (await elsewhere.get('/v1/me')).status === 401, 'the other process knows', 4500);
    granted(await somebody.get('/v1/me'));
  });

  it('who has no token, or a wrong one, is told so', async () => {
    const wrong = [{}, { Authorization: 'Bearer ' }, { Authorization: 'Bearer nonsense' }, { Authorization: 'Basic YTpi' },
      { Cookie: 'taskwire=nonsense' }];
    const somebody = await Client.register(open.url);
    wrong.push({ Authorization: `Bearer ${somebody.token.slice(0, -1)}` }, { Authorization: `Token ${somebody.token}` });
    for (const headers of wrong) refused(await anyone().get('/v1/lists', headers), 401, 'unauthenticated');
  });

  // --- tokens ---

  it("a token's secret is shown once", async () => {
    const somebody = await Client.register(open.url);
    const key = { 'Idempotency-Key': uuid() };
    const body = { name: 'backup', scopes: ['read'] };
    const first = await somebody.post('/v1/tokens', body, key);
    const made = granted(first, 201);
    assert.ok(made.token.length >= 32);
    assert.equal(first.headers.get('location'), `/v1/tokens/${made.id}`);
    const again = await somebody.post('/v1/tokens', body, key);
    granted(again, 201);
    assert.equal(again.headers.get('idempotent-replay'), 'true');
    const { token, ...shown } = made;
    assert.deepEqual(again.body, shown);
    const { items } = granted(await somebody.get('/v1/tokens'));
    assert.deepEqual(items.find((item) => item.id === made.id), shown);
    assert.deepEqual(items.map((item) => [item.kind, item.current]), [['session', true], ['api', false]]);
    assert.doesNotMatch(JSON.stringify(items), new RegExp(token.slice(4)));
    granted(await as(token).get('/v1/lists'));
  });

  it('a token can do what its scopes say', async () => {
    const somebody = await Client.register(open.url);
    const list = await somebody.list();
    const reader = await tokenOf(somebody, { scopes: ['read'] });
    const writer = await tokenOf(somebody, { scopes: ['write'] });
    granted(await reader.get(`/v1/lists/${list.id}/tasks`));
    refused(await reader.post(`/v1/lists/${list.id}/tasks`, { title: 'x' }), 403, 'forbidden');
    refused(await reader.post('/v1/lists', { title: 'x' }), 403, 'forbidden');
    refused(await writer.get('/v1/lists'), 403, 'forbidden');
    const made = granted(await writer.post(`/v1/lists/${list.id}/tasks`, { title: 'unseen' }), 201);
    assert.deepEqual(Object.keys(made).sort(), ['id', 'list', 'rev'], 'who may not read is not shown the task');
    const patched = granted(await writer.patch(`/v1/tasks/${made.id}`, { notes: 'still unseen' }));
    assert.equal(patched.notes, undefined);
    const stale = await writer.patch(`/v1/tasks/${made.id}`, { notes: 'x' }, { 'If-Match': '"no"' });
    assert.equal(refused(stale, 412, 'precondition_failed').current, undefined);
    const newList = granted(await writer.post('/v1/lists', { title: 'unseen' }), 201);
    assert.deepEqual(Object.keys(newList).sort(), ['id', 'rev']);
    assert.equal(granted(await somebody.get(`/v1/tasks/${made.id}`)).notes, 'still unseen');
  });

  it('a token for some lists sees and changes nothing else', async () => {
    const somebody = await Client.register(open.url);
    const [mine, other] = [await somebody.list('mine'), await somebody.list('other')];
    const [here, there] = [await somebody.task(mine.id), await somebody.task(other.id)];
    const token = await tokenOf(somebody, { lists: [mine.id] });
    assert.deepEqual(granted(await token.get('/v1/lists')).items.map((list) => list.id), [mine.id]);
    assert.deepEqual(granted(await token.get('/v1/tasks')).items.map((task) => task.id), [here.id]);
    assert.deepEqual(granted(await token.get(`/v1/tasks?list=${other.id}`)).items, []);
    granted(await token.get(`/v1/tasks/${here.id}`));
    granted(await token.patch(`/v1/tasks/${here.id}`, { notes: 'x' }));
    for (const path of [`/v1/lists/${other.id}`, `/v1/lists/${other.id}/tasks`, `/v1/lists/${other.id}/members`,
      `/v1/lists/${other.id}/events`, `/v1/tasks/${there.id}`, `/v1/tasks/${there.id}/history`]) {
      refused(await token.get(path), 404, 'not_found');
    }
    refused(await token.patch(`/v1/tasks/${there.id}`, { notes: 'x' }), 404, 'not_found');
    refused(await token.delete(`/v1/tasks/${there.id}`), 404, 'not_found');
    refused(await token.post(`/v1/lists/${other.id}/tasks`, { title: 'x' }), 404, 'not_found');
    refused(await token.post('/v1/lists', { title: 'x' }), 403, 'forbidden');
    refused(await token.get('/v1/me'), 403, 'forbidden');
    refused(await token.get('/v1/me/events'), 403, 'forbidden');
    const friend = await Client.register(open.url);
    const sharing = await token.post(`/v1/lists/${mine.id}/members`, { email: friend.email, role: 'viewer' });
    refused(sharing, 403, 'forbidden');
  });

  it('a token of another list does not make one see a list that one is no member of', async () => {
    const [one, two] = [await Client.register(open.url), await Client.register(open.url)];
    const secret = await two.list();
    const token = await tokenOf(one, { lists: [secret.id] });
    refused(await token.get(`/v1/lists/${secret.id}`), 404, 'not_found');
    assert.deepEqual(granted(await token.get('/v1/lists')).items, []);
  });

  it('a token ends when it expires', async () => {
    const somebody = await Client.register(open.url);
    const expires = new Date(Date.now() + 2500);
    const token = await tokenOf(somebody, { expires_at: expires.toISOString() });
    granted(await token.get('/v1/lists'));
    await waitFor(async () => (await token.get('/v1/lists')).status === 401, 'the token has expired', 3500);
    assert.ok(Date.now() >= expires.getTime() - 5, 'not before its time');
    assert.ok(!granted(await somebody.get('/v1/tokens')).items.some((item) => item.id === token.id));
  });

  it('a token that has expired is none, also for who asks for the first time', async () => {
    const somebody = await Client.register(open.url);
    const expires = Date.now() + 500;
    const token = await tokenOf(somebody, { expires_at: new Date(expires).toISOString() });
    await waitFor(() => Date.now() > expires, 'the token has expired');
    refused(await token.get('/v1/lists'), 401, 'unauthenticated');
    refused(await token.post('/v1/lists', { title: 'x' }), 401, 'unauthenticated');
  });

  it('a token that is wrong is refused with a pointer to each wrong value', async () => {
    const somebody = await Client.register(open.url);
    const good = { name: 'x', scopes: ['read'] };
    for (const [change, ...pointers] of [
      [{ name: undefined }, '/name'],
      [{ name: 'n'.repeat(201) }, '/name'],
      [{ scopes: undefined }, '/scopes'],
      [{ scopes: [] }, '/scopes'],
      [{ scopes: ['admin'] }, '/scopes/0'],
      [{ scopes: 'read' }, '/scopes'],
      [{ lists: [] }, '/lists'],
      [{ lists: ['nonsense'] }, '/lists/0'],
      [{ lists: Array.from({ length: 101 }, uuid) }, '/lists'],
      [{ expires_at: '2020-01-01T00:00:00Z' }, '/expires_at'],
      [{ expires_at: 'tomorrow' }, '/expires_at'],
      [{ hash: 'x' }, '/hash'],
      [{ kind: 'session' }, '/kind'],
    ]) {
      refused(await somebody.post('/v1/tokens', { ...good, ...change }), 422, 'invalid', pointers);
    }
  });

  it("only a login's own token manages tokens and the account", async () => {
    const somebody = await Client.register(open.url);
    const token = await tokenOf(somebody, {});
    granted(await token.get('/v1/me'));
    refused(await token.get('/v1/tokens'), 403, 'forbidden');
    refused(await token.post('/v1/tokens', { name: 'x', scopes: ['read'] }), 403, 'forbidden');
    refused(await token.delete(`/v1/tokens/${token.id}`), 403, 'forbidden');
    refused(await token.patch('/v1/me', { name: 'x' }), 403, 'forbidden');
    refused(await token.delete('/v1/me'), 403, 'forbidden');
    refused(await token.delete('/v1/sessions/current'), 403, 'forbidden');
  });

  it('a deleted token is refused everywhere, and a token of somebody else cannot be deleted', async () => {
    const [one, two] = [await Client.register(open.url), await Client.register(open.url)];
    const token = await tokenOf(one, {});
    const elsewhere = as(token.token, closed.url);
    granted(await elsewhere.get('/v1/lists'));
    refused(await two.delete(`/v1/tokens/${token.id}`), 404, 'not_found');
    granted(await token.get('/v1/lists'));
    granted(await one.delete(`/v1/tokens/${token.id}`), 204);
    refused(await token.get('/v1/lists'), 401, 'unauthenticated');
    await waitFor(async () => (await elsewhere.get('/v1/lists')).status === 401, 'the other process knows', 4500);
    refused(await one.delete(`/v1/tokens/${token.id}`), 404, 'not_found');
  });

  it('tokens come page by page, each once', async () => {
    const somebody = await Client.register(open.url);
    for (let i = 0; i < 4; i++) await tokenOf(somebody, { name: `token ${i}` });
    const seen = [];
    let path = '/v1/tokens?limit=2';
    while (path) {
      const page = granted(await somebody.get(path));
      assert.ok(page.items.length <= 2);
      seen.push(...page.items.map((item) => item.name));
      path = page.next && `/v1/tokens?limit=2&cursor=${page.next}`;
    }
    assert.deepEqual(seen, ['', 'token 0', 'token 1', 'token 2', 'token 3']);
  });

  // --- one's own account ---

  it('name and time zone can be changed; the rest of an account cannot', async () => {
    const somebody = await Client.register(open.url, { name: 'Before' });
    const before = granted(await somebody.get('/v1/me'));
    const after = granted(await somebody.patch('/v1/me', { name: 'After', time_zone: 'America/St_Johns' }));
    assert.deepEqual({ ...after, updated_at: '', rev: 0 }, { ...before, name: 'After', time_zone: 'America/St_Johns', updated_at: '', rev: 0 });
    assert.ok(after.rev > before.rev);
    assert.equal(granted(await somebody.patch('/v1/me', { name: null })).name, '');
    const same = granted(await somebody.patch('/v1/me', {}));
    assert.equal(same.time_zone, 'America/St_Johns');
    for (const [change, pointer] of [
      [{ time_zone: 'Nowhere' }, '/time_zone'], [{ time_zone: null }, '/time_zone'], [{ email: email() }, '/email'],
      [{ password_hash: 'x' }, '/password_hash'], [{ id: uuid() }, '/id'], [{ name: 7 }, '/name'],
    ]) {
      refused(await somebody.patch('/v1/me', change), 422, 'invalid', [pointer]);
    }
  });

  it('a new password needs the old one, and ends all other logins but no token', async () => {
    const somebody = await Client.register(open.url);
    const other = as(granted(await anyone().post('/v1/sessions', { email: somebody.email, password }, from()), 201).token);
    const program = await tokenOf(somebody, {});
    const changed = { password: 'an even better one', old_password: password };
    refused(await somebody.patch('/v1/me', { password: 'an even better one' }), 422, 'invalid', ['/old_password']);
    refused(await somebody.patch('/v1/me', { ...changed, old_password: 'a guess' }, from()), 422, 'invalid', ['/old_password']);
    refused(await somebody.patch('/v1/me', { ...changed, password: 'short' }, from()), 422, 'invalid', ['/password']);
    granted(await other.get('/v1/me'));
    const key = { 'Idempotency-Key': uuid() };
    granted(await somebody.patch('/v1/me', changed, { ...key, ...from() }));
    const again = await somebody.patch('/v1/me', changed, { ...key, ...from() });
    granted(again);
    assert.equal(again.headers.get('idempotent-replay'), 'true');
    refused(await other.get('/v1/me'), 401, 'unauthenticated');
    granted(await somebody.get('/v1/me'));
    granted(await program.get('/v1/lists'));
    refused(await anyone().post('/v1/sessions', { email: somebody.email, password }, from()), 401, 'unauthenticated');
    granted(await anyone().post('/v1/sessions', { email: somebody.email, password: changed.password }, from()), 201);
  });

  it("an account's events say what happened, but neither secrets nor names nor addresses", async () => {
    const somebody = await Client.register(open.url, { name: 'Secretive Person' });
    const token = await tokenOf(somebody, { name: 'reader', scopes: ['read'] });
    const list = await somebody.list('A list');
    granted(await somebody.patch('/v1/me', { name: 'Another Name', time_zone: 'Asia/Tokyo' }));
    granted(await somebody.patch('/v1/me', { password: 'an even better one', old_password: password }, from()));
    granted(await somebody.delete(`/v1/tokens/${token.id}`), 204);
    const answer = await somebody.get('/v1/me/events');
    const { items, head } = granted(answer);
    assert.deepEqual(items.map((event) => event.type), ['account.created', 'token.created', 'token.created', 'list.joined',
      'account.updated', 'account.updated', 'token.deleted']);
    assert.deepEqual(items.map((event) => event.rev), [1, 2, 3, 4, 5, 6, 7]);
    assert.equal(head, 7);
    for (const event of items) assert.equal(event.stream, somebody.account);
    assert.deepEqual(items[3].set, { list: list.id, role: 'owner', title: 'A list' });
    for (const secret of ['Secretive', 'Another', somebody.email, password, 'argon2', 'even better', token.token.slice(4)]) {
      assert.ok(!answer.text.includes(secret), `${secret} is in the log`);
    }
  });
});
