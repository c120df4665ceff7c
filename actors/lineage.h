/* SPDX-License-Identifier: Apache-2.0 */
/* Is the database that answers still the one that we know? One that was restored from a backup has
 * lost events that somebody has seen; to go on in it as if nothing had happened would give the same
 * revisions to other events. So each new session that writes is first compared with
 *
 * - where the database itself says that it is: server, timeline, table (a dump restored elsewhere
 *   or anew, a standby that was promoted);
 * - the last events that this process has read (a copy of the data directory put back);
 * - the newest anchors in DATA_DIR (the same, while no process was running).
 *
 * If something is missing, a new epoch begins, with a new MAC key, under the locks of all shards,
 * by whoever finds out first. All that anybody keeps of the log goes by epochs: tags, positions of
 * clients, rings, terms of the relay; so all of it is dropped with the old one. */
#ifndef TASKWIRE_LINEAGE_H
#define TASKWIRE_LINEAGE_H

#include "actors/message.h"
#include "actors/pg.h"

typedef struct lineage lineage_t;

/* Knows nothing but what the newest anchors in DATA_DIR say; a file that cannot be read says
 * nothing, which is logged. Without a directory (NULL or "") there are none. Blocks. */
lineage_t *lineage_new(const char *data_dir);
void lineage_destroy(lineage_t **self_p);

/* This event is in the database. Thread: any. */
void lineage_note(lineage_t *self, const log_event_t *event);

/* For pg_options_t: greets each new session of a connection that writes. `arg` is the lineage_t.
 * Thread: any. */
void lineage_greet(void *arg, pg_t *pg);

/* Makes connections of these options be greeted; nothing if there is no lineage (tests). */
void lineage_guard(lineage_t *self, pg_options_t *options);

#endif
