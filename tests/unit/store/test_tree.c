// SPDX-License-Identifier: MIT
/* The persistent tree against a plain model of it, with snapshots that must not change. */
#include "harness.h"

#include <tree.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMES     64
#define STEPS     4000
#define SNAPSHOTS 8

struct model {
	bool there[NAMES];
	uint64_t generation[NAMES];
};

static struct sr_perms *perms_new(void)
{
	const struct sr_store_perm entry = { .domid = 0, .access = 'n' };
	struct sr_perms *perms;

	assert_int_equal(sr_perms_new(&entry, 1, &perms), 0);
	return perms;
}

static struct sr_node *root_new(struct sr_perms *perms)
{
	struct sr_node *root = sr_node_new("", 0, perms, 0, 1);
	struct sr_node *dir = sr_node_new("dir", 3, perms, 7, 1);

	assert_non_null(root);
	assert_non_null(dir);
	assert_int_equal(sr_tree_insert(root, dir, 1), 0);
	return root;
}

static void name_of(int i, char name[8])
{
	snprintf(name, 8, "n%d", i);
}

static void path_of(int i, char path[16])
{
	snprintf(path, 16, "/dir/n%d", i);
}

struct listing {
	const struct model *model;
	char last[8];
	int count;
};

static int list_one(const struct sr_node *node, void *context)
{
	struct listing *listing = context;

	assert_true(strcmp(listing->last, node->name) < 0);
	snprintf(listing->last, sizeof(listing->last), "%s", node->name);
	assert_true(listing->model->there[atoi(node->name + 1)]);
	listing->count++;
	return 0;
}

static void compare(const struct sr_node *root, const struct model *model)
{
	struct listing listing = { .model = model };
	uint32_t bytes = 0;
	int count = 0;
	char path[16];

	for (int i = 0; i < NAMES; i++) {
		const struct sr_node *node;

		path_of(i, path);
		node = sr_tree_find(root, path, strlen(path));
		assert_int_equal(node != NULL, model->there[i]);
		if (!node)
			continue;
		assert_int_equal(node->generation, model->generation[i]);
		bytes += node->name_len + 1;
		count++;
	}
	assert_int_equal(sr_tree_find(root, "/dir", 4)->child_bytes, bytes);
	sr_tree_each(sr_tree_find(root, "/dir", 4)->children, list_one, &listing);
	assert_int_equal(listing.count, count);
}

static void step(struct sr_node **root, struct model *model, struct sr_perms *perms, int i,
		 uint64_t generation)
{
	struct sr_node *node;
	char path[16];
	char name[8];

	path_of(i, path);
	name_of(i, name);
	if (model->there[i] && rand() % 2) {
		assert_int_equal(sr_tree_own(root, path, strlen(path), &node), 0);
		node->generation = generation;
		model->generation[i] = generation;
		return;
	}
	assert_int_equal(sr_tree_own(root, "/dir", 4, &node), 0);
	if (model->there[i]) {
		assert_int_equal(sr_tree_remove(node, name, strlen(name), generation, &node), 0);
		assert_string_equal(node->name, name);
		sr_node_put(node);
	} else {
		struct sr_node *child =
		    sr_node_new(name, strlen(name), perms, (uint32_t)rand(), generation);

		assert_int_equal(sr_tree_insert(node, child, generation), 0);
		model->generation[i] = generation;
	}
	model->there[i] = !model->there[i];
}

static void test_random_changes_and_snapshots(void **state)
{
	struct sr_perms *perms = perms_new();
	struct sr_node *root = root_new(perms);
	struct sr_node *snapshots[SNAPSHOTS] = { NULL };
	struct model models[SNAPSHOTS];
	struct model model = { 0 };

	srand(1);
	for (int i = 0; i < STEPS; i++) {
		int slot = rand() % SNAPSHOTS;

		step(&root, &model, perms, rand() % NAMES, (uint64_t)i + 2);
		if (i % 16 == 0) {
			sr_node_put(snapshots[slot]);
			snapshots[slot] = sr_node_get(root);
			models[slot] = model;
		}
		if (i % 64 == 0) {
			compare(root, &model);
			for (int s = 0; s < SNAPSHOTS; s++) {
				if (snapshots[s])
					compare(snapshots[s], &models[s]);
			}
		}
	}
	for (int s = 0; s < SNAPSHOTS; s++)
		sr_node_put(snapshots[s]);
	sr_node_put(root);
	sr_perms_put(perms);
}

static void test_nearest(void **state)
{
	struct sr_perms *perms = perms_new();
	struct sr_node *root = root_new(perms);
	const char *rest;

	assert_ptr_equal(sr_tree_nearest(root, "/", 1, &rest), root);
	assert_null(rest);
	assert_string_equal(sr_tree_nearest(root, "/dir", 4, &rest)->name, "dir");
	assert_null(rest);
	assert_string_equal(sr_tree_nearest(root, "/dir/a/b", 8, &rest)->name, "dir");
	assert_string_equal(rest, "a/b");
	assert_ptr_equal(sr_tree_nearest(root, "/dirx", 5, &rest), root);
	assert_string_equal(rest, "dirx");
	/* Only so many bytes of the path count. */
	assert_string_equal(sr_tree_nearest(root, "/dir/a", 4, &rest)->name, "dir");
	assert_null(rest);
	assert_null(sr_tree_find(root, "/none", 5));
	sr_node_put(root);
	sr_perms_put(perms);
}

static void test_unshared_tree_is_changed_in_place(void **state)
{
	struct sr_perms *perms = perms_new();
	struct sr_node *root = root_new(perms);
	struct sr_node *before = root;
	struct sr_node *snapshot;
	struct sr_node *node;

	assert_int_equal(sr_tree_own(&root, "/dir", 4, &node), 0);
	assert_ptr_equal(root, before);
	snapshot = sr_node_get(root);
	assert_int_equal(sr_tree_own(&root, "/dir", 4, &node), 0);
	assert_ptr_not_equal(root, before);
	assert_ptr_equal(snapshot, before);
	assert_ptr_not_equal(node, sr_tree_find(snapshot, "/dir", 4));
	sr_node_put(snapshot);
	sr_node_put(root);
	sr_perms_put(perms);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_changes_and_snapshots),
		cmocka_unit_test(test_nearest),
		cmocka_unit_test(test_unshared_tree_is_changed_in_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
