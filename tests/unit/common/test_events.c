/* SPDX-License-Identifier: MIT */
/* What xenstore has to tell the control thread, where it has too much to tell. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <xenstore.h>

#include "backend.h"

/* --- a store that has told `told` of `count` events ---------------------------------------------
 */

static unsigned told, count;

char **__wrap_xs_check_watch(struct xs_handle *xs);
char **__wrap_xs_check_watch(struct xs_handle *xs)
{
	static const char path[] = "/local/domain/1/device/vif/0/state";
	char **event;

	if (told == count)
		return NULL;
	told++;
	/* One block, as the library's are. */
	event = malloc(2 * sizeof(*event) + sizeof(path) + sizeof(SR_FRONT_TOKEN));
	assert_non_null(event);
	event[XS_WATCH_PATH] = (char *)(event + 2);
	strcpy(event[XS_WATCH_PATH], path);
	if (told < count)
		*strrchr(event[XS_WATCH_PATH], '0') = '1';
	event[XS_WATCH_TOKEN] = strcpy(event[XS_WATCH_PATH] + sizeof(path), SR_FRONT_TOKEN);
	return event;
}

/* A guest that writes without end keeps nobody else waiting, and none of it is lost. */
static void test_storm(void **state)
{
	char front[] = "/local/domain/1/device/vif/0";
	static const struct sr_device_class class = { 0 };
	struct sr_device dev = { .class = &class, .front = front };
	struct sr_backend *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	b->by_front[sr_hash_path(front)] = &dev;
	count = 10000;
	for (unsigned before = 0; told < count; before = told) {
		assert_false(dev.dirty);
		sr_backend_take_events(b);
		assert_in_range(told - before, 1, 1000);
	}
	assert_true(dev.dirty);
	sr_backend_take_events(b);
	free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_storm) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
