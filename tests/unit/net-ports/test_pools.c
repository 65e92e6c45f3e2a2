/* SPDX-License-Identifier: MIT */
/* Pools whose packets lie in pages of their own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include <errno.h>
#include <ports/eal.h>
#include <rte_mbuf.h>

static char error[512];

/* Every mbuf's data are one page, and begin with one; what can't be had is refused, and leaves
 * nothing. */
static void test_pool_of_pages(void **state)
{
	struct rte_mbuf *all[600];
	struct rte_mempool *pages;

	assert_int_equal(sr_mbuf_pool_new_pages("pages", 600, NULL, &pages, error, sizeof(error)),
			 0);
	assert_int_equal(rte_pktmbuf_alloc_bulk(pages, all, 600), 0);
	for (unsigned i = 0; i < 600; i++) {
		assert_int_equal(rte_pktmbuf_mtod(all[i], uintptr_t) % 4096, 0);
		assert_int_equal(rte_pktmbuf_tailroom(all[i]), 4096);
		memset(rte_pktmbuf_append(all[i], 4096), (int)i, 4096);
	}
	for (unsigned i = 0; i < 600; i++)
		assert_int_equal(rte_pktmbuf_mtod(all[i], uint8_t *)[4095], (uint8_t)i);
	assert_null(rte_pktmbuf_alloc(pages));
	rte_pktmbuf_free_bulk(all, 600);
	assert_true(rte_mempool_full(pages));
	sr_mbuf_pool_free(pages);
	assert_int_equal(
	    sr_mbuf_pool_new_pages("huge", 1u << 20, NULL, &pages, error, sizeof(error)), -ENOMEM);
	assert_null(pages);
	assert_non_null(strstr(error, "no memory for 1048576 packets (8192 MiB)"));
}

/* In memory of somebody else, who keeps it. */
static void test_pool_in_memory(void **state)
{
	size_t size = (size_t)300 * SR_MBUF_PAGES * 4096;
	struct rte_mbuf *all[300];
	struct rte_mempool *pages;
	char *memory;

	if (!sr_eal_may_borrow())
		skip();
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(memory, MAP_FAILED);
	assert_int_equal(sr_mbuf_pool_new_pages("lent", 300, memory, &pages, error, sizeof(error)),
			 0);
	assert_int_equal(rte_pktmbuf_alloc_bulk(pages, all, 300), 0);
	for (unsigned i = 0; i < 300; i++) {
		char *data = rte_pktmbuf_mtod(all[i], char *);

		assert_true(data >= memory && data + 4096 <= memory + size);
		assert_int_equal((uintptr_t)data % 4096, 0);
		assert_int_equal(rte_pktmbuf_tailroom(all[i]), 4096);
	}
	rte_pktmbuf_free_bulk(all, 300);
	sr_mbuf_pool_free(pages);
	memset(memory, 0, size);
	assert_int_equal(munmap(memory, size), 0);
}

/* Large ones come beside those of a page, and go with them. */
static void test_large(void **state)
{
	struct rte_mempool *plain, *pages, *large;
	struct rte_mbuf *all[8];

	assert_int_equal(sr_mbuf_pool_new("plain", 16, &plain, error, sizeof(error)), 0);
	assert_null(sr_mbuf_pool_large(plain));
	assert_int_equal(sr_mbuf_pool_add_large(plain, 8, NULL, error, sizeof(error)), -EINVAL);
	sr_mbuf_pool_free(plain);
	assert_int_equal(sr_mbuf_pool_new_pages("pages", 16, NULL, &pages, error, sizeof(error)),
			 0);
	assert_null(sr_mbuf_pool_large(pages));
	assert_int_equal(sr_mbuf_pool_add_large(pages, 1u << 20, NULL, error, sizeof(error)),
			 -ENOMEM);
	assert_null(sr_mbuf_pool_large(pages));
	assert_int_equal(sr_mbuf_pool_add_large(pages, 8, NULL, error, sizeof(error)), 0);
	assert_int_equal(sr_mbuf_pool_add_large(pages, 8, NULL, error, sizeof(error)), -EINVAL);
	large = sr_mbuf_pool_large(pages);
	assert_non_null(large);
	assert_int_equal(rte_pktmbuf_alloc_bulk(large, all, 8), 0);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(rte_pktmbuf_mtod(all[i], uintptr_t) % 4096, 0);
		assert_int_equal(rte_pktmbuf_tailroom(all[i]), 15 * 4096);
		memset(rte_pktmbuf_append(all[i], 15 * 4096), (int)i, 15 * 4096);
	}
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(rte_pktmbuf_mtod(all[i], uint8_t *)[15 * 4096 - 1], i);
	assert_null(rte_pktmbuf_alloc(large));
	rte_pktmbuf_free_bulk(all, 8);
	sr_mbuf_pool_free(pages);
	sr_mbuf_pool_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pool_of_pages),
		cmocka_unit_test(test_pool_in_memory),
		cmocka_unit_test(test_large),
	};

	if (sr_eal_start(&(struct sr_eal_options){ .huge = SR_EAL_HUGE_OFF, .memory_mb = 64 },
			 error, sizeof(error))) {
		fprintf(stderr, "%s\n", error);
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
