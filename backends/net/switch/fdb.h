/* SPDX-License-Identifier: MIT */
#ifndef SR_NET_FDB_H
#define SR_NET_FDB_H

/*
 * Which address is behind which member. An entry is one word, address and member together: a reader
 * takes no lock and can never send one guest's packet to another because an entry changes under it.
 *
 * Threads: any. Lookups never wait. Learning writes only where something changes, and gives up for
 * this time if another thread is writing. Seconds are of any clock that all share.
 */

#include <stdbool.h>
#include <stdint.h>

#define SR_FDB_WAYS    8u
#define SR_FDB_BUCKETS 1024u
#define SR_FDB_MEMBERS 1024u
#define SR_FDB_FIXED   UINT32_MAX

/* What one guest may put into it, and what an uplink may. */
#define SR_FDB_GUEST_MAX  256u
#define SR_FDB_UPLINK_MAX 4096u

struct sr_fdb_bucket {
	uint64_t words[SR_FDB_WAYS]; /* address << 16 | member; 0: free */
} __attribute__((aligned(64)));

struct sr_fdb {
	struct sr_fdb_bucket buckets[SR_FDB_BUCKETS];
	uint32_t seen[SR_FDB_BUCKETS][SR_FDB_WAYS]; /* the second, or SR_FDB_FIXED */
	uint32_t entries[SR_FDB_MEMBERS];           /* learned, by member */
	uint64_t key;
	uint32_t age;
	uint32_t swept; /* the second of the last search for old entries */
	bool writing;
};

/* The six bytes as a number. */
static inline uint64_t sr_fdb_address(const uint8_t mac[6])
{
	uint64_t address = 0;

	for (unsigned i = 0; i < 6; i++)
		address = address << 8 | mac[i];
	return address;
}

/* NULL: out of memory. To be freed by free(). */
struct sr_fdb *sr_fdb_new(uint32_t age);

/* The member that has the address, or 0. */
uint16_t sr_fdb_lookup(const struct sr_fdb *fdb, uint64_t address, uint32_t now);

/*
 * The address was seen as a source at the member, which may have up to `max` entries. A fixed entry
 * stays what it is.
 */
void sr_fdb_learn(struct sr_fdb *fdb, uint64_t address, uint16_t member, uint32_t max,
		  uint32_t now);

/* The control thread's: an address that is a member's for good. -EEXIST: another's. */
int sr_fdb_fix(struct sr_fdb *fdb, uint64_t address, uint16_t member);
/* Forgets a member altogether. */
void sr_fdb_forget(struct sr_fdb *fdb, uint16_t member);

#endif
