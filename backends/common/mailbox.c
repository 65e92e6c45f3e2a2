/* SPDX-License-Identifier: MIT */
/* A mailbox: a list that any thread may add to, and a descriptor that tells of it. */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <common/reactor.h>

int sr_mailbox_init(struct sr_mailbox *box)
{
	box->head = NULL;
	box->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return box->fd < 0 ? -errno : 0;
}

void sr_mailbox_destroy(struct sr_mailbox *box)
{
	if (box->fd >= 0)
		close(box->fd);
	box->fd = -1;
}

void sr_mailbox_post(struct sr_mailbox *box, struct sr_mail *mail)
{
	uint64_t one = 1;

	mail->next = __atomic_load_n(&box->head, __ATOMIC_RELAXED);
	/*
	 * What was written before the post is seen by who takes it (sr_mailbox_run). In one order
	 * with the look whether the owner waits (sr_thread_post).
	 */
	while (!__atomic_compare_exchange_n(&box->head, &mail->next, mail, true, __ATOMIC_SEQ_CST,
					    __ATOMIC_RELAXED))
		;
	/* A full counter is readable as well. */
	if (write(box->fd, &one, sizeof(one)) < 0)
		return;
}

void sr_mailbox_run(struct sr_mailbox *box)
{
	struct sr_mail *mail, *ordered = NULL;
	uint64_t count;

	/* Emptied first: mail that comes after this makes it readable again. */
	if (read(box->fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return;
	mail = __atomic_exchange_n(&box->head, NULL, __ATOMIC_ACQUIRE);
	while (mail) {
		struct sr_mail *next = mail->next;

		mail->next = ordered;
		ordered = mail;
		mail = next;
	}
	while (ordered) {
		struct sr_mail *next = ordered->next;

		ordered->run(ordered->arg);
		ordered = next;
	}
}
