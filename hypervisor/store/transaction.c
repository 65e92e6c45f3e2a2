// SPDX-License-Identifier: MIT
#include "transaction.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct sr_note {
	uint32_t hash;
	uint32_t len;
	unsigned aspects;
	char path[];
};

struct sr_log_entry {
	STAILQ_ENTRY(sr_log_entry) link;
	enum sr_change_kind kind;
	struct sr_value *value;
	struct sr_perms *perms;
	size_t path_len;
	char path[];
};

int sr_transaction_new(struct sr_domain *domain, uint32_t id, struct sr_transaction **transaction)
{
	struct sr_store *store = domain->store;
	struct sr_transaction *new;

	if (!sr_domain_privileged(domain) && domain->transactions >= store->limits.transactions)
		return -ENOSPC;
	new = calloc(1, sizeof(*new));
	if (!new)
		return -ENOMEM;
	new->id = id;
	new->domain = domain;
	new->base = sr_node_get(store->root);
	sr_view_open(&new->view, store, store->root);
	new->view.transaction = new;
	STAILQ_INIT(&new->log);
	domain->transactions++;
	store->transactions++;
	*transaction = new;
	return 0;
}

static void log_entry_free(struct sr_log_entry *entry)
{
	sr_value_put(entry->value);
	sr_perms_put(entry->perms);
	free(entry);
}

void sr_transaction_free(struct sr_transaction *transaction)
{
	struct sr_log_entry *entry;

	while ((entry = STAILQ_FIRST(&transaction->log))) {
		STAILQ_REMOVE_HEAD(&transaction->log, link);
		log_entry_free(entry);
	}
	for (size_t i = 0; i < transaction->note_size; i++)
		free(transaction->notes[i]);
	free(transaction->notes);
	sr_view_close(&transaction->view);
	sr_node_put(transaction->base);
	transaction->domain->transactions--;
	transaction->domain->store->transactions--;
	free(transaction);
}

static int charge(struct sr_transaction *transaction, size_t bytes)
{
	size_t limit = transaction->domain->store->limits.transaction_bytes;

	if (!sr_domain_privileged(transaction->domain) && transaction->bytes + bytes > limit)
		return -ENOSPC;
	transaction->bytes += bytes;
	return 0;
}

static uint32_t hash_path(const char *path, size_t len)
{
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)path[i]) * 16777619u;
	return hash;
}

/* The place of the note, or the free one where it belongs. */
static struct sr_note **note_slot(struct sr_note **notes, size_t size, uint32_t hash,
				  const char *path, size_t len)
{
	size_t i = hash & (size - 1);

	while (notes[i] && (notes[i]->hash != hash || notes[i]->len != len ||
			    memcmp(notes[i]->path, path, len) != 0))
		i = (i + 1) & (size - 1);
	return &notes[i];
}

/* Keeps at least half of the places free. */
static int notes_grow(struct sr_transaction *transaction)
{
	size_t size = transaction->note_size ? 2 * transaction->note_size : 16;
	struct sr_note **notes;

	if (2 * (transaction->note_count + 1) <= transaction->note_size)
		return 0;
	notes = calloc(size, sizeof(struct sr_note *));
	if (!notes)
		return -ENOMEM;
	for (size_t i = 0; i < transaction->note_size; i++) {
		struct sr_note *note = transaction->notes[i];

		if (note)
			*note_slot(notes, size, note->hash, note->path, note->len) = note;
	}
	free(transaction->notes);
	transaction->notes = notes;
	transaction->note_size = size;
	return 0;
}

int sr_transaction_note(struct sr_transaction *transaction, const char *path, size_t len,
			unsigned aspects)
{
	uint32_t hash = hash_path(path, len);
	struct sr_note **slot;
	struct sr_note *note;
	int ret = notes_grow(transaction);

	if (ret)
		return ret;
	slot = note_slot(transaction->notes, transaction->note_size, hash, path, len);
	if (*slot) {
		(*slot)->aspects |= aspects;
		return 0;
	}
	ret = charge(transaction, sizeof(*note) + len);
	if (ret)
		return ret;
	note = malloc(sizeof(*note) + len);
	if (!note)
		return -ENOMEM;
	note->hash = hash;
	note->len = (uint32_t)len;
	note->aspects = aspects;
	memcpy(note->path, path, len);
	*slot = note;
	transaction->note_count++;
	return 0;
}

int sr_transaction_note_missing(struct sr_transaction *transaction, const struct sr_path *path,
				const char *rest)
{
	const char *name;
	size_t name_len;
	size_t above = (size_t)(rest - path->text);
	int ret;

	/* The first missing name stands for all below it. */
	sr_path_next(&rest, path->text + path->len, &name, &name_len);
	ret = sr_transaction_note(transaction, path->text, above + name_len, SR_ASPECT_NODE);
	if (ret)
		return ret;
	return sr_transaction_note(transaction, path->text, above > 1 ? above - 1 : 1,
				   SR_ASPECT_NODE);
}

static struct sr_log_entry *log_entry_new(const struct sr_change *change)
{
	struct sr_log_entry *entry = calloc(1, sizeof(*entry) + change->path->len + 1);

	if (!entry)
		return NULL;
	entry->kind = change->kind;
	entry->value = sr_value_get(change->value);
	if (change->perms)
		entry->perms = sr_perms_get(change->perms);
	entry->path_len = change->path->len;
	memcpy(entry->path, change->path->text, change->path->len + 1);
	return entry;
}

static size_t log_entry_bytes(const struct sr_log_entry *entry)
{
	size_t bytes = sizeof(*entry) + entry->path_len + 1;

	if (entry->value)
		bytes += entry->value->len;
	if (entry->perms)
		bytes += entry->perms->count * sizeof(entry->perms->entry[0]);
	return bytes;
}

int sr_transaction_change(struct sr_transaction *transaction, const struct sr_change *change)
{
	struct sr_log_entry *entry = log_entry_new(change);
	int ret;

	if (!entry)
		return -ENOMEM;
	ret = charge(transaction, log_entry_bytes(entry));
	if (!ret)
		ret = sr_view_change(&transaction->view, transaction->domain, change);
	if (ret) {
		log_entry_free(entry);
		return ret;
	}
	STAILQ_INSERT_TAIL(&transaction->log, entry, link);
	return 0;
}

static bool note_holds(const struct sr_note *note, const struct sr_node *base,
		       const struct sr_node *live)
{
	const struct sr_node *before = sr_tree_find(base, note->path, note->len);
	const struct sr_node *now = sr_tree_find(live, note->path, note->len);

	if (!before || !now)
		return before == now;
	if ((note->aspects & SR_ASPECT_NODE) && before->generation != now->generation)
		return false;
	return !(note->aspects & SR_ASPECT_CHILDREN) ||
	       before->child_generation == now->child_generation;
}

static bool conflicts(const struct sr_transaction *transaction)
{
	const struct sr_node *live = transaction->domain->store->root;

	if (live == transaction->base)
		return false;
	for (size_t i = 0; i < transaction->note_size; i++) {
		if (transaction->notes[i] &&
		    !note_holds(transaction->notes[i], transaction->base, live))
			return true;
	}
	return false;
}

static int replay(const struct sr_transaction *transaction, struct sr_view *view)
{
	struct sr_log_entry *entry;
	int ret = 0;

	STAILQ_FOREACH(entry, &transaction->log, link) {
		struct sr_path path;
		struct sr_change change = {
			.kind = entry->kind,
			.path = &path,
			.value = entry->value,
			.perms = entry->perms,
		};

		path.len = entry->path_len;
		path.relative = 0;
		memcpy(path.text, entry->path, entry->path_len + 1);
		ret = sr_view_change(view, transaction->domain, &change);
		if (ret)
			break;
	}
	return ret;
}

int sr_transaction_commit(struct sr_transaction *transaction)
{
	struct sr_store *store = transaction->domain->store;
	struct sr_view view;
	int ret;

	/* What only read has seen one consistent tree, and there is nothing to do. */
	if (STAILQ_EMPTY(&transaction->log))
		return 0;
	if (conflicts(transaction))
		return -EAGAIN;
	sr_view_open(&view, store, store->root);
	ret = replay(transaction, &view);
	if (!ret)
		sr_view_publish(&view);
	sr_view_close(&view);
	return ret;
}
