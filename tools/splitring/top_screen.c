/* SPDX-License-Identifier: MIT */
#include "top.h"

#include <errno.h>
#include <ncurses.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SLOWEST_S 60.0
#define FASTEST_S 0.1

struct screen {
	struct cli *cli;
	struct top_sample sample;
	enum top_order order;
	double delay;
	bool help, over;
};

static const char *const help_lines[] = {
	"n  by domain and device      o  by operations a second",
	"i  by what comes to guests   u  by what they write and send",
	"e  by errors and drops       + -  look more often, less often",
	"h  this help                 q  quit",
};

static const char order_keys[] = "noiue"; /* as enum top_order */
static const char *const order_names[] = {
	[TOP_BY_NAME] = "name", [TOP_BY_OPERATIONS] = "operations", [TOP_BY_IN] = "in",
	[TOP_BY_OUT] = "out",   [TOP_BY_ERRORS] = "errors",
};

/* addnstr() stays within the window: a small one shows less. */
static void put(int row, int attributes, const char *text)
{
	if (row >= LINES)
		return;
	attron(attributes);
	mvaddnstr(row, 0, text, COLS);
	attroff(attributes);
}

static void draw(struct screen *s)
{
	char line[TOP_LINE];
	int row = 0;

	erase();
	top_summary(&s->sample, line);
	put(row++, A_BOLD, line);
	snprintf(line, sizeof(line), "every %.2g s, by %s; h: help, q: quit", s->delay,
		 order_names[s->order]);
	put(row++, A_NORMAL, line);
	for (size_t i = 0; s->help && i < sizeof(help_lines) / sizeof(*help_lines); i++)
		put(row++, A_NORMAL, help_lines[i]);
	top_heading(line);
	put(row++, A_REVERSE, line);
	for (size_t i = 0; i < s->sample.count; i++) {
		top_line(&s->sample.rows[i], line);
		put(row++, A_NORMAL, line);
	}
	refresh();
}

static void press(struct screen *s, int key)
{
	const char *order = key > 0 ? strchr(order_keys, key) : NULL;

	if (order)
		s->order = (enum top_order)(order - order_keys);
	switch (key) {
	case 'q':
	case 'Q':
		s->over = true;
		break;
	case 'h':
	case '?':
		s->help = !s->help;
		break;
	case '+':
		if (s->delay / 2 >= FASTEST_S)
			s->delay /= 2;
		break;
	case '-':
		if (s->delay * 2 <= SLOWEST_S)
			s->delay *= 2;
		break;
	case 'L' - '@': /* something else has written there */
		clearok(stdscr, true);
		break;
	default: /* KEY_RESIZE too: it is drawn anew */
		break;
	}
}

static int take(struct screen *s)
{
	struct top_sample next;
	int ret = top_take(s->cli, &s->sample, &next);

	if (ret)
		return ret;
	top_free(&s->sample);
	s->sample = next;
	return 0;
}

int top_screen(struct cli *cli, double delay)
{
	struct screen s = { .cli = cli, .order = TOP_BY_OPERATIONS, .delay = delay };
	SCREEN *terminal = newterm(NULL, stdout, stdin);
	int ret = 0;

	if (!terminal)
		return sr_fail(&cli->fail, ENOTTY,
			       "$TERM: no terminal that can be drawn on; use top --batch");
	cbreak();
	noecho();
	keypad(stdscr, true);
	curs_set(0);
	while (!ret && !s.over) {
		int key;

		ret = take(&s);
		if (ret)
			break;
		/* A key shows at once what it changes, without another look at the daemon. */
		do {
			top_sort(&s.sample, s.order);
			draw(&s);
			timeout((int)(s.delay * 1000));
			key = getch();
			press(&s, key);
			/* A terminal that has gone gives no key at once, for ever. */
			if (key == ERR && !isatty(STDIN_FILENO))
				s.over = true;
		} while (key != ERR && !s.over);
	}
	endwin();
	delscreen(terminal);
	top_free(&s.sample);
	return ret;
}
