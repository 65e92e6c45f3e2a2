/* SPDX-License-Identifier: MIT */
#ifndef SR_TOOLS_FAIL_H
#define SR_TOOLS_FAIL_H

/*
 * The one line that an operator sees when something failed: "WHAT: WHY; WHAT TO DO", without the
 * program's name and without a newline. Functions of the tools that can fail for a reason worth
 * telling take one of these as their last parameter and fill it whenever they return an error.
 */
struct sr_fail {
	char line[1024];
};

/* Formats the line and returns -err. Control characters become '?', so that it stays one line. */
int sr_fail(struct sr_fail *f, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
