// SPDX-License-Identifier: Apache-2.0
// A transaction that keeps locks until it is let go: whoever wants them waits, and the test can see that they do.
import { randomBytes } from 'node:crypto';
import { waitFor } from './wait.mjs';

export class Hold {
  // Runs `sql`, which takes the locks; `by` is the login that does it.
  static async of(cluster, sql, by) {
    const hold = new Hold();
    const name = `hold-${randomBytes(4).toString('hex')}`;
    hold.cluster = cluster;
    hold.ended = cluster.query(`SET application_name = '${name}'; ${sql}; SELECT pg_sleep(60)`, 'taskwire', by).catch((error) => error);
    hold.pid = await waitFor(() => cluster.value(
      `SELECT pid FROM pg_stat_activity WHERE application_name = '${name}' AND wait_event = 'PgSleep'`), 'the locks are taken');
    return hold;
  }

  // The shards that these streams are in, as a batch of the writer has them.
  static async shardsOf(cluster, streams, by) {
    const ids = streams.map((id) => `'${id}'`).join(', ');
    return Hold.of(cluster, `SELECT pg_advisory_xact_lock(7461, shard) FROM (SELECT DISTINCT shard FROM stream
      WHERE id IN (${ids}) ORDER BY shard) s`, by);
  }

  static async allShards(cluster) {
    return Hold.of(cluster, 'SELECT pg_advisory_xact_lock(7461, shard) FROM generate_series(0, 63) shard');
  }

  // How many sessions wait for this one.
  async waiters() {
    return Number(await this.cluster.value(`SELECT count(*) FROM pg_stat_activity WHERE ${this.pid} = ANY (pg_blocking_pids(pid))`));
  }

  async untilWaited(n = 1) {
    await waitFor(async () => (await this.waiters()) >= n, `${n} sessions wait for what is held`);
  }

  // Ends the sessions that wait: else they would go on when it is let go, even if their process has died.
  async endWaiters() {
    await this.cluster.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE ${this.pid} = ANY (pg_blocking_pids(pid))`);
    await waitFor(async () => (await this.waiters()) === 0, 'nobody waits any more');
  }

  // Once is enough, and more does no harm.
  async release() {
    if (this.isReleased) return;
    this.isReleased = true;
    await this.cluster.query(`SELECT pg_terminate_backend(${this.pid})`);
    await this.ended;
  }
}
