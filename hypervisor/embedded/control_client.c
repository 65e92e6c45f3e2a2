/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol.h"

struct sr_control {
	struct sr_em_client client;
};

int sr_control_open(const char *dir, struct sr_control **out)
{
	struct sr_control *ctl = malloc(sizeof(*ctl));
	struct sr_em_reply reply;
	int err;

	if (!ctl)
		return -ENOMEM;
	err = sr_em_connect(dir, 0, SR_EM_CONTROL, &ctl->client, &reply, NULL, 0);
	if (err) {
		free(ctl);
		return err;
	}
	*out = ctl;
	return 0;
}

void sr_control_close(struct sr_control *ctl)
{
	if (!ctl)
		return;
	sr_em_disconnect(&ctl->client);
	free(ctl);
}

int sr_control_create(struct sr_control *ctl, const struct sr_domain_spec *spec, uint16_t *domid)
{
	struct sr_em_request req = {
		.op = SR_EM_CREATE,
		.create = { .kind = spec->kind, .vcpus = spec->vcpus, .pages = spec->pages }
	};
	size_t len = strlen(spec->name);
	struct sr_em_reply reply;
	int err;

	if (len > SR_NAME_MAX)
		return -EINVAL;
	memcpy(req.create.name, spec->name, len);
	memcpy(req.create.uuid, spec->uuid, sizeof(req.create.uuid));
	err = sr_em_call(&ctl->client, &req, &reply, NULL, 0);
	if (!err)
		*domid = (uint16_t)reply.ret.domid;
	return err;
}

static int call_domain(struct sr_control *ctl, enum sr_em_op op, uint32_t domid, pid_t pid,
		       struct sr_em_reply *reply)
{
	struct sr_em_request req = { .op = op, .arg = { .domid = domid, .pid = pid } };

	return sr_em_call(&ctl->client, &req, reply, NULL, 0);
}

int sr_control_attach(struct sr_control *ctl, uint16_t domid, pid_t pid)
{
	struct sr_em_reply reply;

	return call_domain(ctl, SR_EM_ATTACH, domid, pid, &reply);
}

int sr_control_destroy(struct sr_control *ctl, uint16_t domid)
{
	struct sr_em_reply reply;

	return call_domain(ctl, SR_EM_DESTROY, domid, 0, &reply);
}

int sr_control_next(struct sr_control *ctl, int after, struct sr_domain_list_entry *entry)
{
	struct sr_em_reply reply;
	int err = call_domain(ctl, SR_EM_NEXT, (uint32_t)after, 0, &reply);

	if (!err)
		*entry = reply.entry;
	return err;
}

int sr_control_info(struct sr_control *ctl, uint16_t domid, struct sr_domain_list_entry *entry)
{
	int err = sr_control_next(ctl, (int)domid - 1, entry);

	if (err == -ENOENT || (!err && entry->domid != domid))
		return -ESRCH;
	return err;
}

int sr_control_status(struct sr_control *ctl, struct sr_machine_status *status)
{
	struct sr_em_reply reply;
	int err = call_domain(ctl, SR_EM_STATUS, 0, 0, &reply);

	if (!err)
		*status = reply.machine;
	return err;
}

int sr_control_shutdown(struct sr_control *ctl)
{
	struct sr_em_reply reply;

	return call_domain(ctl, SR_EM_SHUTDOWN, 0, 0, &reply);
}
