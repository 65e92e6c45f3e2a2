/* SPDX-License-Identifier: MIT */
#ifndef SR_BENCH_FD_LIMIT_H
#define SR_BENCH_FD_LIMIT_H

#include <sys/resource.h>

/* Many guests in one process have more descriptors than it may have by default: as many as it may
 * ask for. */
static inline void raise_fd_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

#endif
