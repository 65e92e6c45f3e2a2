/* SPDX-License-Identifier: MIT */
/*
 * The guest's side of granting: its own table, and which of its references are free.
 * Used by frontends. One thread at a time uses a table.
 */
#ifndef SR_CORE_GRANT_TABLE_H
#define SR_CORE_GRANT_TABLE_H

#include <core/layout.h>
#include <stdbool.h>

struct sr_grant_table;

/*
 * Work on the `table` memfd mapped at `table` (borrowed; sr_table_size(max_frames) bytes), of
 * which `frames` are in use now. All references above the 8 reserved ones count as free.
 */
int sr_grant_table_create(void *table, uint32_t max_frames, uint32_t frames, uint32_t version,
			  struct sr_grant_table **out);
void sr_grant_table_destroy(struct sr_grant_table *tab);

/* The hypervisor grew the table (setup_table) to `frames`. -EINVAL: above max_frames. */
int sr_grant_table_grown(struct sr_grant_table *tab, uint32_t frames);

/* References that can still be had without growing. */
uint32_t sr_grant_table_free_refs(const struct sr_grant_table *tab);
uint32_t sr_grant_table_frames(const struct sr_grant_table *tab);
uint32_t sr_grant_table_version(const struct sr_grant_table *tab);

/* Take a free reference. -ENOSPC: none; ask the hypervisor for more frames. */
int sr_grant_table_alloc(struct sr_grant_table *tab, uint32_t *ref);

/* Give a reference back that grants nothing. -EINVAL: reserved or out of the table. */
int sr_grant_table_free(struct sr_grant_table *tab, uint32_t ref);

/* Grant the whole frame. `ref` was allocated or is a reserved one. */
void sr_grant_table_grant(struct sr_grant_table *tab, uint32_t ref, uint16_t domid, uint64_t gfn,
			  bool readonly);

/* Bytes [off, off + len) of the frame, through copy only. -EOPNOTSUPP on a v1 table. */
int sr_grant_table_grant_sub_page(struct sr_grant_table *tab, uint32_t ref, uint16_t domid,
				  uint64_t gfn, uint16_t off, uint16_t len, bool readonly);

/* What (trans_domid, trans_ref) granted to us, through copy only. -EOPNOTSUPP on v1. */
int sr_grant_table_grant_transitive(struct sr_grant_table *tab, uint32_t ref, uint16_t domid,
				    uint16_t trans_domid, uint32_t trans_ref, bool readonly);

/*
 * Withdraw the grant. -EBUSY: it is in use right now, and still granted. When it returns 0
 * nobody reads or writes the frame through this reference any more. The reference is not freed.
 */
int sr_grant_table_end(struct sr_grant_table *tab, uint32_t ref);

/* GTF_reading and GTF_writing as of now. */
uint16_t sr_grant_table_in_use(const struct sr_grant_table *tab, uint32_t ref);

#endif
