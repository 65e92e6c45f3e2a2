/* SPDX-License-Identifier: MIT */
#ifndef SR_RING_MIRROR_H
#define SR_RING_MIRROR_H

/*
 * The two layouts of a blkif slot, byte by byte, to test the ring's code against. xen_abi.c holds
 * both up to Xen's own header, compiled for the one machine and for the other.
 */

#include <stdint.h>

#define MIRROR_SEGS  11
#define MIRROR_GREFS 8

struct mirror_seg {
	uint32_t gref;
	uint8_t first_sect, last_sect;
	uint16_t pad;
};

/* `pad` stands for the bytes of padding that only the 64-bit layout has. */
#define MIRROR_LAYOUT(name, pad)                                                                   \
	struct mirror_##name##_rw {                                                                \
		uint8_t operation, nr_segments;                                                    \
		uint16_t handle;                                                                   \
		pad(pad0) uint64_t id, sector;                                                     \
		struct mirror_seg seg[MIRROR_SEGS];                                                \
	} __attribute__((packed));                                                                 \
	struct mirror_##name##_discard {                                                           \
		uint8_t operation, flag;                                                           \
		uint16_t handle;                                                                   \
		pad(pad0) uint64_t id, sector, nr_sectors;                                         \
	} __attribute__((packed));                                                                 \
	struct mirror_##name##_indirect {                                                          \
		uint8_t operation, indirect_op;                                                    \
		uint16_t nr_segments;                                                              \
		pad(pad0) uint64_t id, sector;                                                     \
		uint16_t handle, pad1;                                                             \
		uint32_t grefs[MIRROR_GREFS];                                                      \
	} __attribute__((packed));                                                                 \
	struct mirror_##name##_response {                                                          \
		uint64_t id;                                                                       \
		uint8_t operation, pad1;                                                           \
		int16_t status;                                                                    \
		pad(pad0)                                                                          \
	} __attribute__((packed));                                                                 \
	struct mirror_##name##_sring {                                                             \
		uint32_t req_prod, req_event, rsp_prod, rsp_event;                                 \
		uint8_t pad1[48];                                                                  \
		struct mirror_##name##_rw ring[1];                                                 \
	} __attribute__((packed))

#define MIRROR_PAD(field) uint32_t field;
#define MIRROR_NO_PAD(field)

MIRROR_LAYOUT(x86_64, MIRROR_PAD);
MIRROR_LAYOUT(x86_32, MIRROR_NO_PAD);

#endif
