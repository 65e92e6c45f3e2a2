/* SPDX-License-Identifier: MIT */
#ifndef FUZZ_STORE_H
#define FUZZ_STORE_H

#include <stddef.h>
#include <stdint.h>

/* libFuzzer's entry point: any bytes. Aborts where the store does what it must not. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
