/* SPDX-License-Identifier: MIT */
#ifndef FILE_TRANSFER_H
#define FILE_TRANSFER_H

/*
 * The course of one request with a kernel that may do reads and writes in parts: what to ask it for
 * next, and what its answer means. Lies in the request's scratch space.
 */

#include <splitring/blk_driver.h>

#include <errno.h>

/* How often a request that the kernel refuses with "again" is tried. */
#define SR_TRANSFER_RETRIES 100u

struct sr_transfer {
	uint64_t moved;   /* bytes */
	unsigned retries; /* times that the kernel said "again" */
};

/*
 * What is left of a read or write, if it is one piece of memory: the whole of it, where the pieces
 * follow each other, or after a part was moved the rest of the piece that is not complete (so one
 * that was done in parts goes on piece by piece). False: nothing is moved yet, take req->iov.
 */
static inline bool sr_transfer_piece(const struct sr_transfer *transfer,
				     const struct sr_blk_request *req, struct iovec *piece)
{
	const struct iovec *iov = req->iov;
	uint64_t skip = transfer->moved;
	bool whole = true;

	for (uint32_t i = 1; whole && i < req->iov_count; i++)
		whole = (uint8_t *)iov[i - 1].iov_base + iov[i - 1].iov_len ==
			(uint8_t *)iov[i].iov_base;
	if (whole) {
		piece->iov_base = (uint8_t *)iov->iov_base + skip;
		piece->iov_len = req->length - skip;
		return true;
	}
	if (!skip)
		return false;
	while (skip >= iov->iov_len)
		skip -= iov++->iov_len;
	piece->iov_base = (uint8_t *)iov->iov_base + skip;
	piece->iov_len = iov->iov_len - skip;
	return true;
}

/*
 * Takes the kernel's answer: bytes moved (reads and writes), 0, or -errno. True: the request is
 * finished and its result set. False: it has to be submitted again.
 */
static inline bool sr_transfer_settle(struct sr_transfer *transfer, struct sr_blk_request *req,
				      int64_t res)
{
	req->result = res < 0 ? res : 0;
	if (res == -EAGAIN || res == -EINTR)
		return transfer->retries++ >= SR_TRANSFER_RETRIES;
	if (res < 0 || (req->op != SR_BLK_READ && req->op != SR_BLK_WRITE))
		return true;
	transfer->moved += (uint64_t)res;
	if (transfer->moved >= req->length)
		return true;
	/* Nothing moved: the image has become shorter than the disk. */
	req->result = -EIO;
	return res == 0;
}

#endif
