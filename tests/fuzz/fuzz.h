/* SPDX-License-Identifier: MIT */
#ifndef SR_FUZZ_H
#define SR_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* libFuzzer's entry, so that the same inputs run with it and without. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
