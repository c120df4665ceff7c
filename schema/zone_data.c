/* SPDX-License-Identifier: Apache-2.0 */
/* The digests of all files are added up by exclusive or, so that the order in which a folder shows
 * them does not matter; each is over the name as well, so equal files do not cancel out. */
#include "schema/zone_data.h"

#include <fcntl.h>
#include <fts.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "schema/zone.h"

#define DIGEST_BYTES (ZONE_DATA_CHARS / 2)
#define MAX_FILE_BYTES (64 * 1024) /* the largest of them has some 4 KiB */

_Static_assert(DIGEST_BYTES >= crypto_generichash_BYTES_MIN, "as BLAKE2b has it");

/* Second copies of all zones. */
static bool is_copy(const FTSENT *entry)
{
    return entry->fts_level == 1 &&
           (strcmp(entry->fts_name, "posix") == 0 || strcmp(entry->fts_name, "right") == 0);
}

static size_t read_file(const char *path, char *out)
{
    size_t n_bytes = 0;
    ssize_t n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    while (n_bytes < MAX_FILE_BYTES && (n = read(fd, out + n_bytes, MAX_FILE_BYTES - n_bytes)) > 0)
        n_bytes += (size_t)n;
    close(fd);
    return n_bytes;
}

/* Whatever else lies there is no zone. */
static void add_file(const char *name, const char *path, uint8_t sum[DIGEST_BYTES])
{
    char bytes[MAX_FILE_BYTES];
    uint8_t digest[DIGEST_BYTES];
    size_t n_bytes = read_file(path, bytes);
    if (n_bytes < 4 || memcmp(bytes, "TZif", 4) != 0)
        return;
    crypto_generichash_state hash;
    crypto_generichash_init(&hash, NULL, 0, DIGEST_BYTES);
    crypto_generichash_update(&hash, (const uint8_t *)name, strlen(name) + 1);
    crypto_generichash_update(&hash, (const uint8_t *)bytes, n_bytes);
    crypto_generichash_final(&hash, digest, DIGEST_BYTES);
    for (size_t i = 0; i < DIGEST_BYTES; i++)
        sum[i] ^= digest[i];
}

bool zone_data_digest(char out[ZONE_DATA_CHARS + 1])
{
    uint8_t sum[DIGEST_BYTES] = {0};
    char folder[4096];
    char *const roots[] = {folder, NULL};
    size_t n_folder = strlen(zone_folder());
    if (n_folder >= sizeof folder)
        return false;
    memcpy(folder, zone_folder(), n_folder + 1);
    FTS *walk = fts_open(roots, FTS_LOGICAL | FTS_NOCHDIR, NULL);
    if (walk == NULL)
        return false;
    FTSENT *entry;
    size_t n_files = 0;
    while ((entry = fts_read(walk)) != NULL) {
        if (entry->fts_info == FTS_D && is_copy(entry))
            fts_set(walk, entry, FTS_SKIP);
        if (entry->fts_info != FTS_F)
            continue;
        add_file(entry->fts_path + n_folder, entry->fts_path, sum);
        n_files++;
    }
    fts_close(walk);
    sodium_bin2hex(out, ZONE_DATA_CHARS + 1, sum, DIGEST_BYTES);
    return n_files > 0;
}
