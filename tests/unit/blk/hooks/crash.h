/* SPDX-License-Identifier: MIT */
#ifndef SR_TEST_CRASH_H
#define SR_TEST_CRASH_H

/* Called before each store to memory that outlives the process; may not return. */
void crash_point(void);

#endif
