/* SPDX-License-Identifier: MIT */
#include "fdb.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Where an entry is. An address has two buckets that it may be in. */
struct place {
	uint64_t *word;
	uint32_t *seen;
};

static uint64_t load(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static uint32_t load32(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static void store(uint64_t *word, uint64_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELAXED);
}

static void store32(uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELAXED);
}

/* With a key that no guest knows: none can aim at one bucket. */
static uint64_t hash(const struct sr_fdb *fdb, uint64_t address)
{
	uint64_t h = (address ^ fdb->key) * UINT64_C(0x9e3779b97f4a7c15);

	h ^= h >> 29;
	h *= fdb->key | 1;
	return h ^ h >> 32;
}

static unsigned bucket(uint64_t h, unsigned which)
{
	return (unsigned)(which ? h >> 20 : h) % SR_FDB_BUCKETS;
}

static bool old(const struct sr_fdb *fdb, uint32_t seen, uint32_t now)
{
	return seen != SR_FDB_FIXED && (int32_t)(now - seen) > (int32_t)fdb->age;
}

struct sr_fdb *sr_fdb_new(uint32_t age)
{
	struct sr_fdb *fdb = aligned_alloc(64, sizeof(*fdb));

	if (!fdb)
		return NULL;
	memset(fdb, 0, sizeof(*fdb));
	fdb->age = age;
	if (getrandom(&fdb->key, sizeof(fdb->key), GRND_NONBLOCK) != sizeof(fdb->key))
		fdb->key = (uint64_t)(uintptr_t)fdb * UINT64_C(0xff51afd7ed558ccd);
	return fdb;
}

static bool find(const struct sr_fdb *fdb, uint64_t address, struct place *place)
{
	uint64_t h = hash(fdb, address);

	for (unsigned which = 0; which < 2; which++) {
		unsigned b = bucket(h, which);

		for (unsigned i = 0; i < SR_FDB_WAYS; i++)
			if (load(&fdb->buckets[b].words[i]) >> 16 == address) {
				*place = (struct place){
					(uint64_t *)&fdb->buckets[b].words[i],
					(uint32_t *)&fdb->seen[b][i],
				};
				return true;
			}
	}
	return false;
}

uint16_t sr_fdb_lookup(const struct sr_fdb *fdb, uint64_t address, uint32_t now)
{
	struct place place;
	uint64_t word;

	if (!find(fdb, address, &place) || old(fdb, load32(place.seen), now))
		return 0;
	/* Once more: it may be another's entry by now, and what we answer must be of one piece. */
	word = load(place.word);
	return word >> 16 == address ? (uint16_t)word : 0;
}

/* --- writing ------------------------------------------------------------------------------------
 */

static bool try_lock(struct sr_fdb *fdb)
{
	return !__atomic_exchange_n(&fdb->writing, true, __ATOMIC_ACQUIRE);
}

static void unlock(struct sr_fdb *fdb)
{
	__atomic_store_n(&fdb->writing, false, __ATOMIC_RELEASE);
}

/* The control thread can wait: a learner holds it for a few instructions. */
static void lock(struct sr_fdb *fdb)
{
	while (!try_lock(fdb))
		sched_yield();
}

/* Writes an entry over another or none, and keeps the numbers right. Member 0: takes it away. */
static void put(struct sr_fdb *fdb, struct place place, uint64_t address, uint16_t member,
		uint32_t seen)
{
	uint64_t before = load(place.word);

	if (before && load32(place.seen) != SR_FDB_FIXED)
		fdb->entries[before & 0xffff]--;
	if (member && seen != SR_FDB_FIXED)
		fdb->entries[member]++;
	store32(place.seen, seen);
	store(place.word, member ? address << 16 | member : 0);
}

/* A place for a new entry: a free one, an old one, or (`force`) any that is not fixed. */
static bool find_room(struct sr_fdb *fdb, uint64_t address, uint32_t now, bool force,
		      struct place *place)
{
	uint64_t h = hash(fdb, address);
	bool found = false;

	for (unsigned which = 0; which < 2; which++) {
		unsigned b = bucket(h, which);

		for (unsigned i = 0; i < SR_FDB_WAYS; i++) {
			uint64_t *word = &fdb->buckets[b].words[i];
			uint32_t *seen = &fdb->seen[b][i];

			if (load(word) == 0 || old(fdb, *seen, now)) {
				*place = (struct place){ word, seen };
				return true;
			}
			if (force && *seen != SR_FDB_FIXED) {
				*place = (struct place){ word, seen };
				found = true;
			}
		}
	}
	return found;
}

/* Takes away what is old; for a member that has its fill. Once a second at most. */
static void sweep(struct sr_fdb *fdb, uint32_t now)
{
	if (fdb->swept == now)
		return;
	fdb->swept = now;
	for (unsigned b = 0; b < SR_FDB_BUCKETS; b++)
		for (unsigned i = 0; i < SR_FDB_WAYS; i++) {
			struct place place = { &fdb->buckets[b].words[i], &fdb->seen[b][i] };

			if (load(place.word) && old(fdb, *place.seen, now))
				put(fdb, place, 0, 0, 0);
		}
}

void sr_fdb_learn(struct sr_fdb *fdb, uint64_t address, uint16_t member, uint32_t max, uint32_t now)
{
	struct place place;

	if (find(fdb, address, &place)) {
		uint32_t seen = load32(place.seen);

		if (seen == SR_FDB_FIXED)
			return;
		if ((uint16_t)load(place.word) == member) {
			/* Once a second, so that lanes do not fight for the cache line. */
			if (seen != now)
				__atomic_compare_exchange_n(place.seen, &seen, now, false,
							    __ATOMIC_RELAXED, __ATOMIC_RELAXED);
			return;
		}
	}
	if (load32(&fdb->entries[member]) >= max && load32(&fdb->swept) == now)
		return;
	if (!try_lock(fdb))
		return; /* the next packet tries again */
	if (fdb->entries[member] >= max)
		sweep(fdb, now);
	if (fdb->entries[member] < max) {
		/* Another lane may have been faster. */
		if (find(fdb, address, &place) ? *place.seen != SR_FDB_FIXED
					       : find_room(fdb, address, now, false, &place))
			put(fdb, place, address, member, now);
	}
	unlock(fdb);
}

int sr_fdb_fix(struct sr_fdb *fdb, uint64_t address, uint16_t member)
{
	struct place place;
	int rc = 0;

	lock(fdb);
	if (find(fdb, address, &place) && *place.seen == SR_FDB_FIXED)
		rc = (uint16_t)*place.word == member ? 0 : -EEXIST;
	else if (find(fdb, address, &place) || find_room(fdb, address, 0, true, &place))
		put(fdb, place, address, member, SR_FDB_FIXED);
	else
		rc = -EEXIST; /* sixteen fixed ones in the same two buckets: it is learned, then */
	unlock(fdb);
	return rc;
}

void sr_fdb_forget(struct sr_fdb *fdb, uint16_t member)
{
	lock(fdb);
	for (unsigned b = 0; b < SR_FDB_BUCKETS; b++)
		for (unsigned i = 0; i < SR_FDB_WAYS; i++) {
			struct place place = { &fdb->buckets[b].words[i], &fdb->seen[b][i] };

			if (load(place.word) && (uint16_t)load(place.word) == member)
				put(fdb, place, 0, 0, 0);
		}
	unlock(fdb);
}
