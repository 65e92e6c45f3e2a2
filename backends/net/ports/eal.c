/* SPDX-License-Identifier: MIT */
#include <ports/eal.h>

#include <errno.h>
#include <glob.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <common/plugin.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_memzone.h>

#define POOL_CACHE 256u
#define ARGS_MAX   16

/* EAL is one a process, so this is too. */
static struct {
	pthread_mutex_t lock;
	bool started;
	int error; /* of the first attempt: EAL allows no second one */
} eal = { .lock = PTHREAD_MUTEX_INITIALIZER };

static unsigned long read_number(const char *path)
{
	unsigned long n = 0;
	FILE *file = fopen(path, "re");

	if (!file)
		return 0;
	if (fscanf(file, "%lu", &n) != 1)
		n = 0;
	fclose(file);
	return n;
}

/* MiB of reserved hugepages that nobody uses. */
static unsigned long huge_free_mb(void)
{
	unsigned long mb = 0, kb;
	glob_t found;

	if (glob("/sys/kernel/mm/hugepages/hugepages-*kB/free_hugepages", 0, NULL, &found) == 0) {
		for (size_t i = 0; i < found.gl_pathc; i++)
			if (sscanf(found.gl_pathv[i], "/sys/kernel/mm/hugepages/hugepages-%lukB/",
				   &kb) == 1)
				mb += read_number(found.gl_pathv[i]) * kb / 1024;
		globfree(&found);
	}
	return mb;
}

/* The first processor that we may run on: EAL insists on one, and is told to start no threads. */
static int first_cpu(const cpu_set_t *allowed)
{
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, allowed))
			return cpu;
	return 0;
}

/* The last line of what EAL has logged, without its prefix: that is the reason it gave up for. */
static void last_line(char *log, char *line, size_t size)
{
	char *end = log + strlen(log), *start;

	while (end > log && end[-1] == '\n')
		*--end = '\0';
	start = strrchr(log, '\n');
	start = start ? start + 1 : log;
	if (strncmp(start, "EAL: ", 5) == 0)
		start += 5;
	snprintf(line, size, "%s", start);
}

static int init(char **argv, int argc, char *why, size_t size)
{
	cpu_set_t before;
	char *text = NULL;
	size_t text_size;
	FILE *log;
	int rc;

	/* EAL pins the thread that starts it. It is ours and stays where it was. */
	pthread_getaffinity_np(pthread_self(), sizeof(before), &before);
	log = open_memstream(&text, &text_size);
	if (!log)
		return -ENOMEM;
	rte_openlog_stream(log);
	rc = rte_eal_init(argc, argv) < 0 ? -rte_errno : 0;
	rte_openlog_stream(stderr);
	fclose(log);
	pthread_setaffinity_np(pthread_self(), sizeof(before), &before);
	last_line(text, why, size);
	free(text);
	return rc;
}

static int start(const struct sr_eal_options *options, char *error, size_t size)
{
	unsigned memory = options->memory_mb ? options->memory_mb : SR_EAL_MEMORY_MB;
	bool huge = options->huge == SR_EAL_HUGE_ON ||
		    (options->huge == SR_EAL_HUGE_AUTO && huge_free_mb() >= memory);
	char lcores[32], megabytes[16], prefix[32], why[256] = "";
	char *argv[ARGS_MAX] = { (char *)"splitring",
				 (char *)"--no-telemetry",
				 (char *)"--log-level=*:warning",
				 (char *)"--lcores",
				 lcores,
				 (char *)"--file-prefix",
				 prefix };
	int argc = 7, rc;
	cpu_set_t allowed;

	pthread_getaffinity_np(pthread_self(), sizeof(allowed), &allowed);
	snprintf(lcores, sizeof(lcores), "0@%d", first_cpu(&allowed));
	snprintf(megabytes, sizeof(megabytes), "%u", memory);
	snprintf(prefix, sizeof(prefix), "splitring-%d", (int)getpid());
	if (huge) {
		argv[argc++] = (char *)"--in-memory";
	} else {
		/* The two say the same of shared files, but don't go together. */
		argv[argc++] = (char *)"--no-shconf";
		argv[argc++] = (char *)"--no-huge";
		argv[argc++] = (char *)"-m";
		argv[argc++] = megabytes;
	}
	/* With a list of what is allowed EAL takes no device by itself, but any that we name. */
	argv[argc++] = access("/sys/bus/pci/devices", F_OK) ? (char *)"--no-pci"
							    : (char *)"--allow=0000:00:00.0";
	rc = init(argv, argc, why, sizeof(why));
	if (rc == -EALREADY) /* by the program itself, as in testpmd */
		return 0;
	/* EAL makes a directory for what it would share, also where it fails. */
	rmdir(rte_eal_get_runtime_dir());
	if (rc)
		return sr_plugin_error(
		    error, size, rc, "DPDK can't start: %s (%s pages of memory; it says: %s)",
		    strerror(-rc), huge ? "huge" : "ordinary", why[0] ? why : "nothing");
	return 0;
}

int sr_eal_start(const struct sr_eal_options *options, char *error, size_t size)
{
	static const struct sr_eal_options defaults;
	int rc = 0;

	pthread_mutex_lock(&eal.lock);
	if (eal.error)
		rc = sr_plugin_error(error, size, eal.error,
				     "DPDK could not start before, and can't be tried again");
	else if (!eal.started)
		rc = eal.error = start(options ? options : &defaults, error, size);
	if (!rc)
		__atomic_store_n(&eal.started, true, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&eal.lock);
	return rc;
}

bool sr_eal_started(void)
{
	return __atomic_load_n(&eal.started, __ATOMIC_ACQUIRE);
}

int sr_eal_thread_register(void)
{
	if (rte_lcore_id() != LCORE_ID_ANY)
		return 0;
	return rte_thread_register() ? -rte_errno : 0;
}

void sr_eal_thread_unregister(void)
{
	rte_thread_unregister();
}

static void unique_name(char unique[RTE_MEMPOOL_NAMESIZE], const char *name)
{
	static unsigned number;

	snprintf(unique, RTE_MEMPOOL_NAMESIZE, "%.12s-%u", name,
		 __atomic_add_fetch(&number, 1, __ATOMIC_RELAXED));
}

int sr_mbuf_pool_new(const char *name, unsigned count, struct rte_mempool **pool, char *error,
		     size_t size)
{
	char unique[RTE_MEMPOOL_NAMESIZE];

	unique_name(unique, name);
	*pool = rte_pktmbuf_pool_create(unique, count, RTE_MIN(POOL_CACHE, count / 4), 0,
					RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (*pool)
		return 0;
	return sr_plugin_error(
	    error, size, -rte_errno, "no memory for %u packets (%u MiB): %s; give DPDK more", count,
	    count / 1024 * (RTE_MBUF_DEFAULT_BUF_SIZE + 256u) / 1024, rte_strerror(rte_errno));
}

/* --- mbufs of a page ----------------------------------------------------------------------------
 */

#define PAGE 4096u
/* What lies in front of a buffer, up to a page in all: the data then begin with the next one. */
#define PAGE_PRIV                                                                                  \
	(PAGE - RTE_CACHE_LINE_SIZE - (unsigned)sizeof(struct rte_mbuf) - RTE_PKTMBUF_HEADROOM)

/* What a pool of ours has in front of its mbufs. */
struct pool_private {
	struct rte_pktmbuf_pool_private mbufs;
	uint64_t ours;
	struct rte_mempool *large;
};

#define POOL_OURS 0x656772616c2f7273u /* no other pool has that there */

static struct pool_private *private_of(struct rte_mempool *pool)
{
	struct pool_private *private = rte_mempool_get_priv(pool);

	return pool->private_data_size >= sizeof(*private) && private->ours == POOL_OURS ? private
											 : NULL;
}

static void free_zone(struct rte_mempool_memhdr *chunk, void *zone)
{
	rte_memzone_free(zone);
}

/* The pool's memory, which rte_mempool_free() lets go of, if it is not the caller's. */
static int populate(struct rte_mempool *pool, const char *name, unsigned pages, void *memory)
{
	size_t size = (size_t)pool->size * pages * PAGE;
	const struct rte_memzone *zone;
	int rc;

	if (memory)
		return rte_mempool_populate_virt(pool, memory, size, PAGE, NULL, NULL);
	zone = rte_memzone_reserve_aligned(name, size, SOCKET_ID_ANY, 0, SR_MBUF_PAGES * PAGE);
	if (!zone)
		return -rte_errno;
	rc = rte_mempool_populate_virt(pool, zone->addr, zone->len, PAGE, free_zone,
				       (void *)(uintptr_t)zone);
	if (rc <= 0)
		rte_memzone_free(zone);
	return rc;
}

/* Objects of exactly so many pages, so that none of two lies across two huge ones. */
static int fill_pages(struct rte_mempool *pool, const char *name, unsigned pages, void *memory)
{
	struct rte_pktmbuf_pool_private mbufs = {
		.mbuf_data_room_size = (uint16_t)(RTE_PKTMBUF_HEADROOM + (pages - 1) * PAGE),
		.mbuf_priv_size = PAGE_PRIV,
	};
	int rc = rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), NULL);

	if (rc)
		return rc;
	rte_pktmbuf_pool_init(pool, &mbufs);
	((struct pool_private *)rte_mempool_get_priv(pool))->ours = POOL_OURS;
	rc = populate(pool, name, pages, memory);
	if (rc <= 0)
		return rc ? rc : -ENOMEM;
	if (pool->populated_size != pool->size)
		return -ENOMEM;
	rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
	return 0;
}

bool sr_eal_may_borrow(void)
{
	return !rte_eal_has_hugepages();
}

/* 0, or a negative errno, and there is none. */
static int new_pool(const char *name, unsigned count, unsigned pages, void *memory,
		    struct rte_mempool **pool)
{
	char unique[RTE_MEMPOOL_NAMESIZE];
	int rc;

	unique_name(unique, name);
	*pool = rte_mempool_create_empty(
	    unique, count, pages * PAGE - RTE_CACHE_LINE_SIZE, RTE_MIN(POOL_CACHE, count / 4),
	    sizeof(struct pool_private), SOCKET_ID_ANY, RTE_MEMPOOL_F_NO_SPREAD);
	rc = *pool ? fill_pages(*pool, unique, pages, memory) : -rte_errno;
	if (rc) {
		rte_mempool_free(*pool);
		*pool = NULL;
	}
	return rc;
}

static int pool_error(unsigned count, unsigned pages, int rc, char *error, size_t size)
{
	return sr_plugin_error(error, size, rc,
			       "no memory for %u packets (%u MiB): %s; give DPDK more", count,
			       (unsigned)((uint64_t)count * pages * PAGE >> 20), strerror(-rc));
}

int sr_mbuf_pool_new_pages(const char *name, unsigned count, void *memory,
			   struct rte_mempool **pool, char *error, size_t size)
{
	int rc = new_pool(name, count, SR_MBUF_PAGES, memory, pool);

	return rc ? pool_error(count, SR_MBUF_PAGES, rc, error, size) : 0;
}

int sr_mbuf_pool_add_large(struct rte_mempool *pool, unsigned count, void *memory, char *error,
			   size_t size)
{
	struct pool_private *private = private_of(pool);
	int rc = -EINVAL;

	if (private && !private->large)
		rc = new_pool("large", count, SR_MBUF_LARGE_PAGES, memory, &private->large);
	return rc ? pool_error(count, SR_MBUF_LARGE_PAGES, rc, error, size) : 0;
}

struct rte_mempool *sr_mbuf_pool_large(struct rte_mempool *pool)
{
	const struct pool_private *private = private_of(pool);

	return private ? private->large : NULL;
}

void sr_mbuf_pool_free(struct rte_mempool *pool)
{
	if (pool)
		rte_mempool_free(sr_mbuf_pool_large(pool));
	rte_mempool_free(pool);
}
