/* SPDX-License-Identifier: MIT */
/* Permission lists: immutable, counted references, since most nodes share their parent's. */
#ifndef STORE_PERMS_H
#define STORE_PERMS_H

#include <store/store.h>

#include <stdbool.h>

#define SR_MAY_READ  1u
#define SR_MAY_WRITE 2u
#define SR_MAY_OWN   4u

struct sr_perms {
	uint32_t refs;
	uint32_t count; /* at least 1; entry[0] is the owner and what all others may do */
	struct sr_store_perm entry[];
};

/* -EINVAL where an entry's access is none of "nrwb" or there is none. */
int sr_perms_new(const struct sr_store_perm *entries, size_t count, struct sr_perms **perms);

/* From the wire: 'len' bytes of "r5|b0|", each with its nul. -EINVAL, -ENOMEM. */
int sr_perms_parse(const char *text, size_t len, struct sr_perms **perms);

/* Into 'text' in the same format; -E2BIG where 'size' does not hold it. */
int sr_perms_format(const struct sr_perms *perms, char *text, size_t size, size_t *len);

/* The same list with another owner: a new reference to 'perms' where it is that owner's. */
struct sr_perms *sr_perms_owned_by(struct sr_perms *perms, uint16_t domid);

/* The list without the entries (not the owner) that name 'domid'. NULL where memory is short. */
struct sr_perms *sr_perms_without(const struct sr_perms *perms, uint16_t domid);
bool sr_perms_name(const struct sr_perms *perms, uint16_t domid);

/* SR_MAY_*. 'target' is the domain that 'domid' acts for, or 'domid' itself. */
unsigned sr_perms_access(const struct sr_perms *perms, uint16_t domid, uint16_t target);

static inline uint16_t sr_perms_owner(const struct sr_perms *perms)
{
	return perms->entry[0].domid;
}

static inline struct sr_perms *sr_perms_get(struct sr_perms *perms)
{
	perms->refs++;
	return perms;
}

void sr_perms_put(struct sr_perms *perms);

#endif
