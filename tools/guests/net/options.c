/* SPDX-License-Identifier: MIT */
#include "guest_net.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: guest-net [ADDRESS [DEVICE]] [OPTION...] [-- COMMAND...]\n"
    "\n"
    "Ties vif DEVICE (0) of the domain at ADDRESS ($SPLITRING_HYPERVISOR) to an interface in a "
    "network\n"
    "namespace, and runs COMMAND in there; without one, runs until it is terminated.\n"
    "\n"
    "  --ip ADDR/LEN      an address of the interface, IPv4 or IPv6; may be repeated\n"
    "  --gateway ADDR     the default route\n"
    "  --mac MAC          instead of the one that the toolstack gave\n"
    "  --mtu BYTES        instead of the one that the toolstack gave\n"
    "  --queues N         as many queues, if the backend has them (1)\n"
    "  --interface NAME   the interface's name (eth0)\n"
    "  --netns NAME       an existing namespace of `ip netns` instead of a new one\n"
    "  --off LIST         do without some of: csum, tso, sg, split, control, static\n"
    "  --spin US          look at the rings so long before going to sleep (0)\n";

static _Noreturn void refuse(const char *what, const char *value)
{
	fprintf(stderr, "guest-net: %s '%s'\n%s", what, value, usage);
	exit(2);
}

static unsigned number(const char *name, const char *text, unsigned long max)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	if (end == text || *end || v > max)
		refuse(name, text);
	return (unsigned)v;
}

static void off(struct guest_net_options *o, char *list)
{
	struct sr_netfront_options *f = &o->front;
	char *save, *word;

	for (word = strtok_r(list, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
		if (!strcmp(word, "csum"))
			f->csum4 = f->csum6 = f->gso4 = f->gso6 = false;
		else if (!strcmp(word, "tso"))
			f->gso4 = f->gso6 = false;
		else if (!strcmp(word, "sg"))
			f->sg = f->gso4 = f->gso6 = false;
		else if (!strcmp(word, "split"))
			f->split = false;
		else if (!strcmp(word, "control"))
			f->control = false;
		else if (!strcmp(word, "static"))
			o->no_static = true;
		else
			refuse("--off can't do without", word);
	}
}

static void option(struct guest_net_options *o, int c, char *value)
{
	switch (c) {
	case 'i':
		if (o->address_count == GUEST_NET_MAX_ADDRESSES)
			refuse("too many addresses, with", value);
		o->addresses[o->address_count++] = value;
		break;
	case 'g':
		o->gateway = value;
		break;
	case 'm':
		o->mac = value;
		break;
	case 'u':
		o->mtu = number("--mtu", value, 65535);
		break;
	case 'q':
		o->front.queues = number("--queues", value, SR_NETFRONT_MAX_QUEUES);
		break;
	case 'I':
		o->interface = value;
		break;
	case 'n':
		o->netns = value;
		break;
	case 'o':
		off(o, value);
		break;
	case 's':
		o->spin_us = number("--spin", value, 1000000);
		break;
	case 'h':
		fputs(usage, stdout);
		exit(0);
	default:
		fputs(usage, stderr);
		exit(2);
	}
}

void guest_net_parse(int argc, char **argv, struct guest_net_options *o)
{
	static const struct option options[] = {
		{ "ip", required_argument, NULL, 'i' },
		{ "gateway", required_argument, NULL, 'g' },
		{ "mac", required_argument, NULL, 'm' },
		{ "mtu", required_argument, NULL, 'u' },
		{ "queues", required_argument, NULL, 'q' },
		{ "interface", required_argument, NULL, 'I' },
		{ "netns", required_argument, NULL, 'n' },
		{ "off", required_argument, NULL, 'o' },
		{ "spin", required_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const struct sr_netfront_options defaults = SR_NETFRONT_DEFAULTS;
	int ours = 1, c;

	*o = (struct guest_net_options){
		.hypervisor = getenv("SPLITRING_HYPERVISOR"),
		.interface = "eth0",
		.front = defaults,
	};
	/* What stands behind -- is the command's, its options too. */
	while (ours < argc && strcmp(argv[ours], "--"))
		ours++;
	if (ours + 1 < argc)
		o->command = argv + ours + 1;
	while ((c = getopt_long(ours, argv, "", options, NULL)) != -1)
		option(o, c, optarg);
	if (optind < ours)
		o->hypervisor = argv[optind++];
	if (optind < ours)
		o->front.device = number("no vif", argv[optind++], UINT16_MAX);
	if (optind < ours)
		refuse("unexpected", argv[optind]);
	if (!o->hypervisor)
		refuse("no domain: neither ADDRESS nor", "$SPLITRING_HYPERVISOR");
}
