// SPDX-License-Identifier: Apache-2.0
// The tour as a program would make it whose author has openapi.yaml only: its types come from there by
// openapi-typescript, requests go by openapi-fetch. Compiled and run by tests/system/generated.test.mjs.
import createClient from 'openapi-fetch';
import type { components, paths } from './taskwire.js';

type Task = components['schemas']['Task'];

const url = process.argv[2] ?? 'http://127.0.0.1:8080';
const api = createClient<paths, 'application/json' | 'application/problem+json'>({ baseUrl: url });

function need<T>(answer: { data?: T; error?: unknown; response: Response }, status: number): T {
  if (answer.response.status !== status || answer.data === undefined) {
    throw new Error(`${answer.response.url} answered ${answer.response.status}, not ${status}: ${JSON.stringify(answer.error)}`);
  }
  return answer.data;
}

function expect(condition: boolean, words: string): asserts condition {
  if (!condition) throw new Error(words);
}

async function waitFor<T>(what: string, ask: () => Promise<T | undefined>): Promise<T> {
  for (const end = Date.now() + 20_000; Date.now() < end;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    await new Promise((next) => { setTimeout(next, 50); });
  }
  throw new Error(`there never was ${what}`);
}

async function logIn(): Promise<string> {
  const email = `generated-${Date.now()}@example.org`;
  const password = 'correct horse battery staple';
  const made = need(await api.POST('/v1/accounts', { body: { email, password, time_zone: 'Europe/Zurich' } }), 201);
  api.use({
    onRequest({ request }) {
      request.headers.set('Authorization', `Bearer ${made.token}`);
      return request;
    },
  });
  const me = need(await api.GET('/v1/me', {}), 200);
  expect(me.email === email && me.id === made.account.id, 'the account is mine');
  return me.id;
}

// A daily task that is done, and the one that comes after it.
async function doDaily(list: string): Promise<Task> {
  const task = need(await api.POST('/v1/lists/{list}/tasks', {
    params: { path: { list } },
    body: { title: 'Water the plants', due: '2027-03-01T09:00', recurrence: { rule: 'daily', from: 'due', missed: 'next' } },
  }), 201);
  const path = { task: task.id };
  const changed = need(await api.PATCH('/v1/tasks/{task}', { params: { path }, body: { priority: 'high', tags: { add: ['home'] } } }), 200);
  expect(changed.priority === 'high' && changed.tags.includes('home'), 'the patch is in the answer');
  const done = need(await api.POST('/v1/tasks/{task}/complete', { params: { path } }), 200);
  expect(done.status === 'done' && done.completed_at !== null, 'it is done');
  return waitFor('a successor', async () => {
    const page = need(await api.GET('/v1/tasks', { params: { query: { list: [list], status: ['open'] } } }), 200);
    return page.items.find((one) => one.series === done.series && one.occurrence === 2);
  });
}

async function lookBack(list: string, task: string, me: string): Promise<void> {
  const { items, head } = need(await api.GET('/v1/lists/{list}/events', { params: { path: { list }, query: { after: 0 } } }), 200);
  expect(items.every((event, i) => event.rev === i + 1) && items.length === head, 'revs have no gap');
  const history = need(await api.GET('/v1/tasks/{task}/history', { params: { path: { task } } }), 200);
  expect(history.items[0]?.type === 'task.created', 'a history begins with the beginning');
  const members = need(await api.GET('/v1/lists/{list}/members', { params: { path: { list } } }), 200);
  expect(members.items.length === 1 && members.items[0]?.account === me && members.items[0].role === 'owner', 'I own it');
  await waitFor('a verdict about all events', async () => {
    const verdict = need(await api.GET('/v1/audit/{list}/verify', { params: { path: { list } } }), 200);
    expect(verdict.ok, 'the log is what was written');
    return verdict.head >= head ? verdict : undefined;
  });
}

// What is wrong must not compile, else the types say nothing.
async function refused(list: string): Promise<void> {
  const path = { list };
  // @ts-expect-error a task needs a title
  const untitled = await api.POST('/v1/lists/{list}/tasks', { params: { path }, body: { notes: 'x' } });
  // @ts-expect-error there is no such priority
  const unknown = await api.POST('/v1/lists/{list}/tasks', { params: { path }, body: { title: 'x', priority: 'huge' } });
  for (const { error, response } of [untitled, unknown]) {
    expect(response.status === 422 && error?.code === 'invalid', 'and is refused');
    expect(error.errors?.length === 1, 'with a pointer to what is wrong');
  }
}

const me = await logIn();
const list = need(await api.POST('/v1/lists', { body: { title: 'The tour' } }), 201);
const successor = await doDaily(list.id);
expect(successor.due === '2027-03-02T09:00', 'the next one is a day later');
await lookBack(list.id, successor.id, me);
await refused(list.id);
const gone = await api.DELETE('/v1/lists/{list}', { params: { path: { list: list.id } } });
expect(gone.response.status === 204, 'the list is deleted');
console.log('All of it works.');
