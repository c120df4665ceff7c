// SPDX-License-Identifier: Apache-2.0
// Reading what comes page by page.
import assert from 'node:assert/strict';
import { granted } from './expect.mjs';

// All items of a path; `between` is called before each further page.
export async function readAll(client, path, query = {}, between = async () => {}) {
  const params = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    for (const one of [value].flat()) params.append(key, one);
  }
  const items = [];
  const cursors = new Set();
  for (;;) {
    const page = granted(await client.get(`${path}?${params}`));
    if (query.limit) assert.ok(page.items.length <= query.limit, `a page of ${page.items.length} items`);
    items.push(...page.items);
    if (page.next === null) return items;
    assert.ok(page.items.length > 0, 'a page with a next one is not empty');
    assert.ok(!cursors.has(page.next), 'the same page again');
    cursors.add(page.next);
    params.set('cursor', page.next);
    await between();
  }
}
