/* SPDX-License-Identifier: MIT */

/*
 * A driver of your own, in a page: an image whose every byte is turned by a key. The guest sees its
 * data, the file keeps them turned. It is no encryption, but it is where one would stand. Build it
 * against the installed headers, and load it into splitringd:
 *
 *     cc -O2 -shared -fPIC $(pkg-config --cflags splitring) -o blk-xor.so blk-xor.c
 *
 *     disk = [ 'xor:/images/a.img,key=0x5a' ]     with blk-xor.so among the daemon's drivers
 */

#include <splitring/blk_options.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct xor_disk {
	int fd;
	uint8_t key;
};

static int xor_open(const struct sr_blk_open *args, void **out, struct sr_blk_info *info)
{
	uint64_t key = 0x5a;
	const struct sr_blk_option known[] = { { "key", SR_BLK_OPTION_NUMBER, &key, NULL } };
	struct xor_disk *disk;
	struct stat st;
	int err;

	err = sr_blk_options_read(args, args->options, known, 1);
	if (err)
		return err;
	if (key > 255)
		return sr_blk_fail(args, -EINVAL, "key=: it is one byte, from 0 to 255");
	disk = malloc(sizeof(*disk));
	if (!disk)
		return sr_blk_fail(args, -ENOMEM, "out of memory");
	disk->key = (uint8_t)key;
	disk->fd = open(args->target, (args->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (disk->fd < 0 || fstat(disk->fd, &st)) {
		err = sr_blk_fail(args, -errno, "can't be opened: %s", strerror(errno));
		goto fail;
	}
	if (st.st_size == 0 || st.st_size % 512) {
		err =
		    sr_blk_fail(args, -EINVAL, "its size is no multiple of 512 bytes, or it is 0");
		goto fail;
	}
	*info = (struct sr_blk_info){
		.size = (uint64_t)st.st_size,
		.logical_block_size = 512,
		.flush = true,
		.read_only = args->read_only,
	};
	*out = disk;
	return 0;
fail:
	if (disk->fd >= 0)
		close(disk->fd);
	free(disk);
	return err;
}

static void xor_close(void *arg)
{
	struct xor_disk *disk = arg;

	close(disk->fd);
	free(disk);
}

/*
 * One piece, through a buffer: what the guest writes stays as it is in the guest's own memory, and
 * what it reads is not there before it is turned.
 */
static int xor_piece(const struct xor_disk *disk, bool write, const struct iovec *iov,
		     uint64_t offset)
{
	uint8_t buffer[16384];
	size_t len;

	for (size_t at = 0; at < iov->iov_len; at += len) {
		uint8_t *guest = (uint8_t *)iov->iov_base + at;
		ssize_t n;

		len = iov->iov_len - at < sizeof(buffer) ? iov->iov_len - at : sizeof(buffer);
		for (size_t i = 0; write && i < len; i++)
			buffer[i] = guest[i] ^ disk->key;
		n = write ? pwrite(disk->fd, buffer, len, (off_t)(offset + at))
			  : pread(disk->fd, buffer, len, (off_t)(offset + at));
		if (n < 0)
			return -errno;
		if ((size_t)n != len)
			return -EIO;
		for (size_t i = 0; !write && i < len; i++)
			guest[i] = buffer[i] ^ disk->key;
	}
	return 0;
}

/* The simplest way: the work is done when submit() returns. docs/writing-a-driver.md has the other.
 */
static enum sr_blk_submit xor_submit(void *queue, struct sr_blk_request *req)
{
	struct xor_disk *disk = queue;
	uint64_t offset = req->offset;

	req->result = 0;
	switch (req->op) {
	case SR_BLK_READ:
	case SR_BLK_WRITE:
		for (uint32_t i = 0; i < req->iov_count && !req->result; i++) {
			req->result =
			    xor_piece(disk, req->op == SR_BLK_WRITE, &req->iov[i], offset);
			offset += req->iov[i].iov_len;
		}
		break;
	case SR_BLK_FLUSH:
		req->result = fdatasync(disk->fd) ? -errno : 0;
		break;
	default:
		req->result = -EOPNOTSUPP;
	}
	return SR_BLK_DONE;
}

const struct sr_blk_driver sr_blk_driver = {
	.abi = SR_BLK_DRIVER_ABI,
	.name = "xor",
	.description = "an image whose every byte is turned by a key",
	.open = xor_open,
	.close = xor_close,
	.submit = xor_submit,
};
