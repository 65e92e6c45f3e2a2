/* SPDX-License-Identifier: MIT */
/* A fixed number of mutated inputs from a fixed seed: the fuzzer's part in every test run. */
#include "fuzz_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS    20000u
#define MAX_INPUT 512u

static const char *const seeds[] = {
	"name = 'guest'\nmemory = 64 # MiB\ndisk = [ '/img,raw,xvda,w',\n 'vdev=xvdb,target=/b' "
	"]\n",
	"direct='on';name=\"a\\n\\x41\\101b\"\n\nmemory=0x10",
	"disk += [ 'a', [ 'b', [ 'c' ] ] ]\n",
	"format=raw,vdev=xvda,access=rw,target=/img",
	"/img,raw,xvda1,w,backendtype=qdisk,backend=dd,no-discard,direct-io-safe",
	"vdev=hdc,devtype=cdrom,access=ro,target=",
	"vdev=xvda,target=null:size=1G,latency=5",
	"xvdzz255",
	"d1048575p255",
	"sda15",
	"0x1fffffff",
	"--size=1G 'a b' \"c\\\"d\" \\e",
};

static const char *const tokens[] = {
	"=",      ",",    "[",      "]",    "'",       "\"",    "\n",    ";",
	"#",      "\\",   "+=",     "xvda", "target=", "vdev=", "0x",    "name",
	"memory", "disk", "iscsi:", "phy:", "raw:",    "\\x",   "\\777", "99999999999999999999",
};

static uint64_t random_state = 0x9e3779b97f4a7c15u;

static uint32_t pick(uint32_t below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 32) % below;
}

static size_t insert(uint8_t *buf, size_t len, const char *what)
{
	size_t n = strlen(what), at = pick((uint32_t)len + 1);

	if (len + n > MAX_INPUT)
		return len;
	memmove(buf + at + n, buf + at, len - at);
	memcpy(buf + at, what, n);
	return len + n;
}

static size_t mutate(uint8_t *buf, size_t len)
{
	size_t at, n;

	switch (pick(5)) {
	case 0:
		return insert(buf, len, tokens[pick(sizeof(tokens) / sizeof(*tokens))]);
	case 1:
		return insert(buf, len, seeds[pick(sizeof(seeds) / sizeof(*seeds))]);
	case 2:
		if (len)
			buf[pick((uint32_t)len)] = (uint8_t)pick(256);
		return len;
	case 3:
		if (len)
			buf[pick((uint32_t)len)] ^= (uint8_t)(1u << pick(8));
		return len;
	default:
		at = pick((uint32_t)len + 1);
		n = pick((uint32_t)(len - at) + 1);
		memmove(buf + at, buf + at + n, len - at - n);
		return len - n;
	}
}

int main(void)
{
	const char *env = getenv("SR_FUZZ_ROUNDS");
	unsigned long rounds = env ? strtoul(env, NULL, 10) : ROUNDS;

	for (unsigned long i = 0; i < rounds; i++) {
		uint8_t buf[MAX_INPUT];
		const char *seed = seeds[i % (sizeof(seeds) / sizeof(*seeds))];
		size_t len = strlen(seed);

		memcpy(buf, seed, len);
		for (uint32_t n = pick(6); n; n--)
			len = mutate(buf, len);
		LLVMFuzzerTestOneInput(buf, len);
	}
	printf("1..1\nok 1 - %lu inputs\n", rounds);
	return 0;
}
