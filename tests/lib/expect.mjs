// SPDX-License-Identifier: Apache-2.0
// What answers have to look like.
import assert from 'node:assert/strict';

// Checks a success; answers its body.
export function granted(answer, status = 200) {
  assert.equal(answer.status, status, answer.text);
  assert.ok(answer.headers.get('request-id'), 'every answer has a Request-Id');
  return answer.body;
}

// Checks a problem document by itself; answers it.
export function problem(body, status, code, pointers) {
  const shown = JSON.stringify(body);
  assert.equal(body.status, status, shown);
  assert.equal(body.code, code, shown);
  assert.equal(typeof body.type, 'string', shown);
  assert.ok(body.title.length > 0 && body.detail.length > 0, shown);
  if (pointers) assert.deepEqual(body.errors.map((error) => error.pointer).sort(), [...pointers].sort(), shown);
  for (const error of body.errors ?? []) assert.ok(error.detail.length > 0, shown);
  return body;
}

// Checks a refusal over HTTP: RFC 9457 and the headers that belong to its status. Answers the problem.
export function refused(answer, status, code, pointers) {
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.headers.get('content-type'), 'application/problem+json', answer.text);
  assert.ok(answer.headers.get('request-id'), 'every answer has a Request-Id');
  if (status === 401) assert.match(answer.headers.get('www-authenticate') ?? '', /^Bearer/);
  if (status === 429 || status === 503) assert.ok(Number(answer.headers.get('retry-after')) >= 1, 'Retry-After');
  return problem(answer.body, status, code, pointers);
}
