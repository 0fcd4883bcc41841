/* Tables as text. Widths are in screen columns; cells may have several lines. */
#include "client/table.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "base/alloc.h"
#include "base/str.h"
#include "client/client.h"
#include "client/print.h"

void table_done(struct table *t)
{
	strv_done(&t->header);
	for (size_t i = 0; i < t->row_count; i++)
		strv_done(&t->rows[i]);
	free(t->rows);
	*t = TABLE_INIT;
}

int table_format_parse(const char *name, enum table_format *ret, struct error *err)
{
	static const struct {
		const char *name;
		enum table_format format;
	} formats[] = {
		{"table", TABLE_GRID}, {"compact", TABLE_COMPACT}, {"csv", TABLE_CSV},
		{"json", TABLE_JSON},  {"yaml", TABLE_YAML},
	};

	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		if (streq(name, formats[i].name)) {
			*ret = formats[i].format;
			return 0;
		}
	}
	return error_set(err, 400, "Invalid format \"%s\"", name);
}

/* Every cell passes here, so nothing that a server sent can steer the terminal. */
void table_set_header(struct table *t, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		strv_add(&t->header, names[i]);
}

void table_take_row(struct table *t, struct strv *cells)
{
	struct strv safe = STRV_INIT;

	for (size_t i = 0; i < cells->len; i++)
		strv_take(&safe, print_safe_text(cells->items[i], "\n"));
	t->rows = xreallocarray(t->rows, t->row_count + 1, sizeof(*t->rows));
	t->rows[t->row_count++] = safe;
	strv_done(cells);
}

void table_add(struct table *t, const char *const *cells, size_t n)
{
	struct strv row = STRV_INIT;

	for (size_t i = 0; i < n; i++)
		strv_add(&row, cells[i] ? cells[i] : "");
	table_take_row(t, &row);
}

int natural_compare(const char *a, const char *b)
{
	while (*a && *b) {
		if (isdigit((unsigned char)*a) && isdigit((unsigned char)*b)) {
			size_t na, nb;
			int d;

			while (*a == '0' && isdigit((unsigned char)a[1]))
				a++;
			while (*b == '0' && isdigit((unsigned char)b[1]))
				b++;
			na = strspn(a, "0123456789");
			nb = strspn(b, "0123456789");
			if (na != nb)
				return na < nb ? -1 : 1;
			d = strncmp(a, b, na);
			if (d)
				return d;
			a += na;
			b += nb;
			continue;
		}
		if (*a != *b)
			return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
		a++;
		b++;
	}
	return *a ? 1 : *b ? -1 : 0;
}

static int compare_rows(const void *pa, const void *pb)
{
	const struct strv *a = pa, *b = pb;

	for (size_t i = 0; i < a->len && i < b->len; i++) {
		const char *left = a->items[i], *right = b->items[i];
		int d = natural_compare(left, right);

		/* no name comes after all names */
		if (d)
			return *left && *right ? d : -d;
	}
	return 0;
}

void table_sort(struct table *t)
{
	if (t->row_count)
		qsort(t->rows, t->row_count, sizeof(*t->rows), compare_rows);
}

/* The first cell that differs decides, byte by byte; an empty one comes after all others. */
static int compare_plain(const void *a, const void *b)
{
	const struct strv *x = a, *y = b;

	for (size_t i = 0; i < x->len && i < y->len; i++) {
		const char *left = x->items[i], *right = y->items[i];

		if (streq(left, right))
			continue;
		if (!*left || !*right)
			return *left ? -1 : 1;
		return strcmp(left, right);
	}
	return 0;
}

void table_sort_empty_last(struct table *t)
{
	if (t->row_count)
		qsort(t->rows, t->row_count, sizeof(*t->rows), compare_plain);
}

/* Screen columns of the first @len bytes. */
static size_t text_width(const char *s, size_t len)
{
	mbstate_t st = {0};
	size_t width = 0;

	while (len) {
		wchar_t wc;
		size_t n = mbrtowc(&wc, s, len, &st);
		int w;

		if (n == (size_t)-1 || n == (size_t)-2 || n == 0) {
			/* not UTF-8: one column per byte */
			st = (mbstate_t){0};
			n = 1;
			w = 1;
		} else {
			w = wcwidth(wc);
		}
		width += w > 0 ? (size_t)w : 0;
		s += n;
		len -= n;
	}
	return width;
}

/* The n-th line of a cell, "" behind the last. */
static const char *cell_line(const char *cell, size_t n, size_t *ret_len)
{
	for (; n; n--) {
		const char *end = strchr(cell, '\n');

		if (!end) {
			*ret_len = 0;
			return "";
		}
		cell = end + 1;
	}
	*ret_len = strcspn(cell, "\n");
	return cell;
}

static size_t cell_lines(const char *cell)
{
	size_t n = 1;

	for (; *cell; cell++)
		n += *cell == '\n';
	return n;
}

static size_t cell_width(const char *cell)
{
	size_t width = 0;

	for (size_t i = 0; i < cell_lines(cell); i++) {
		size_t len;
		const char *line = cell_line(cell, i, &len);

		width = MAX_OF(width, text_width(line, len));
	}
	return width;
}

static void pad(struct strbuf *out, size_t n)
{
	while (n--)
		strbuf_append_char(out, ' ');
}

static void render_rule(const size_t *widths, size_t columns, struct strbuf *out)
{
	for (size_t i = 0; i < columns; i++) {
		strbuf_append_char(out, '+');
		for (size_t k = 0; k < widths[i] + 2; k++)
			strbuf_append_char(out, '-');
	}
	strbuf_append(out, "+\n");
}

/* One row, header (centred) or cells (to the left), all its lines. */
static void render_row(const struct strv *row, const size_t *widths, bool centre, bool grid, struct strbuf *out)
{
	size_t lines = 1;

	for (size_t i = 0; i < row->len; i++)
		lines = MAX_OF(lines, cell_lines(row->items[i]));
	for (size_t n = 0; n < lines; n++) {
		for (size_t i = 0; i < row->len; i++) {
			size_t len, gap, left;
			const char *line = cell_line(row->items[i], n, &len);

			gap = widths[i] - text_width(line, len);
			left = centre ? gap / 2 : 0;
			strbuf_append(out, grid ? "| " : "  ");
			pad(out, left);
			strbuf_append_len(out, line, len);
			pad(out, gap - left);
			if (grid)
				strbuf_append_char(out, ' ');
		}
		strbuf_append(out, grid ? "|\n" : "  \n");
	}
}

static void render_grid(const struct table *t, bool grid, struct strbuf *out)
{
	size_t columns = t->header.len;
	auto_free size_t *widths = xnew_array(size_t, columns + 1);

	for (size_t i = 0; i < columns; i++) {
		widths[i] = cell_width(t->header.items[i]);
		for (size_t k = 0; k < t->row_count; k++)
			if (i < t->rows[k].len)
				widths[i] = MAX_OF(widths[i], cell_width(t->rows[k].items[i]));
	}
	if (grid)
		render_rule(widths, columns, out);
	render_row(&t->header, widths, true, grid, out);
	if (grid)
		render_rule(widths, columns, out);
	for (size_t k = 0; k < t->row_count; k++) {
		render_row(&t->rows[k], widths, false, grid, out);
		if (grid)
			render_rule(widths, columns, out);
	}
}

/* RFC 4180, quoted where it must be, and where a reader may strip a leading blank. */
static void render_csv_cell(const char *cell, struct strbuf *out)
{
	if (!strpbrk(cell, ",\"\r\n") && *cell != ' ' && !streq(cell, "\\.")) {
		strbuf_append(out, cell);
		return;
	}
	strbuf_append_char(out, '"');
	for (; *cell; cell++) {
		if (*cell == '"')
			strbuf_append_char(out, '"');
		strbuf_append_char(out, *cell);
	}
	strbuf_append_char(out, '"');
}

void table_render(const struct table *t, enum table_format format, struct strbuf *out)
{
	if (format != TABLE_CSV) {
		render_grid(t, format == TABLE_GRID, out);
		return;
	}
	for (size_t k = 0; k < t->row_count; k++) {
		for (size_t i = 0; i < t->rows[k].len; i++) {
			if (i)
				strbuf_append_char(out, ',');
			render_csv_cell(t->rows[k].items[i], out);
		}
		strbuf_append_char(out, '\n');
	}
}

int table_print(const struct table *t, enum table_format format, const struct json *objects, struct error *err)
{
	auto_strbuf struct strbuf out = STRBUF_INIT;
	auto_free char *json = NULL;

	switch (format) {
	case TABLE_JSON:
		json = json_to_text(objects);
		print_json(json);
		return 0;
	case TABLE_YAML:
		return cli_print_yaml(objects, 0, err);
	default:
		table_render(t, format, &out);
		fputs(strbuf_str(&out), stdout);
		return 0;
	}
}
