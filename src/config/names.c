/* Checks of names and of text. */
#include "config/names.h"

#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/str.h"

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static bool only(const char *s, const char *set)
{
	return s[strspn(s, set)] == '\0';
}

int name_check_instance(const char *name, struct error *err)
{
	const char *why = NULL;
	size_t n = name ? strlen(name) : 0;

	if (n == 0)
		return error_set(err, 400, "Invalid instance name: Name must not be empty");
	if (n > 63)
		why = "Name must be 1-63 characters long";
	else if (name[0] == '-')
		why = "Name must not start with \"-\" character";
	else if (strchr(DIGITS, name[0]))
		why = "Name must not start with a number";
	else if (!only(name, LOWER UPPER DIGITS "-"))
		why = "Name can only contain alphanumeric and hyphen characters";
	else if (name[n - 1] == '-')
		why = "Name must not end with \"-\" character";
	return why ? error_set(err, 400, "Invalid instance name: %s", why) : 0;
}

/* What no path component may be. */
static int check_component(const char *what, const char *name, size_t max, struct error *err)
{
	if (str_is_empty(name))
		return error_set(err, 400, "No name provided");
	if (strlen(name) > max)
		return error_set(err, 400, "Invalid %s name: longer than %zu bytes", what, max);
	if (streq(name, ".") || streq(name, ".."))
		return error_set(err, 400, "Invalid %s name \"%s\"", what, name);
	if (strchr(name, '/'))
		return error_set(err, 400, "Invalid %s name: may not contain slashes", what);
	if (!text_is_clean(name, false))
		return error_set(err, 400, "Invalid %s name: control characters or no UTF-8", what);
	return 0;
}

int name_check_snapshot(const char *name, struct error *err)
{
	if (name && strchr(name, '/'))
		return error_set(err, 400, "Invalid snapshot name: Cannot contain \"/\"");
	if (name && strchr(name, ' '))
		return error_set(err, 400, "Invalid snapshot name: may not contain spaces");
	return check_component("snapshot", name, 255, err);
}

int name_check_profile(const char *name, struct error *err)
{
	if (name && strchr(name, '/'))
		return error_set(err, 400, "Profile names may not contain slashes");
	return check_component("profile", name, 255, err);
}

int name_check_project(const char *name, struct error *err)
{
	static const struct {
		char c;
		const char *what;
	} bad[] = {{' ', "spaces"}, {'/', "slashes"}, {'_', "underscores"}, {'\'', "quotes"}, {'"', "quotes"}};

	for (size_t i = 0; name && i < ARRAY_SIZE(bad); i++)
		if (strchr(name, bad[i].c))
			return error_set(err, 400, "Project names may not contain %s", bad[i].what);
	if (name && streq(name, "*"))
		return error_set(err, 400, "Reserved project name");
	/* it is a part of names of files, control groups and in DNS */
	if (check_component("project", name, 128, err) < 0)
		return -err->errnum;
	if (strchr("-.+", name[0]) || !only(name, LOWER UPPER DIGITS "-.+"))
		return error_set(
			err, 400,
			"Invalid project name \"%s\": letters, digits, \"-\", \".\" and \"+\" may be in it, and "
			"the first is a letter or digit",
			name);
	return 0;
}

int name_check_pool(const char *name, struct error *err)
{
	return check_component("storage pool", name, 255, err);
}

int name_check_device(const char *name, struct error *err)
{
	return check_component("device", name, 64, err);
}

int name_check_interface(const char *name, struct error *err)
{
	size_t len = strlen(name);

	if (len < 2)
		return error_set(err, 400, "Network interface is too short (minimum 2 characters)");
	if (len > 15)
		return error_set(err, 400, "Network interface is too long (maximum 15 characters)");
	if (!only(name, LOWER UPPER DIGITS "-_.") || streq(name, ".."))
		return error_set(err, 400, "Network interface contains invalid characters");
	/* what stands under these names in /proc/sys/net is not one interface's */
	if (streq(name, "all") || streq(name, "default"))
		return error_set(err, 400, "Network interface cannot be called \"%s\"", name);
	return 0;
}

int name_check_alias(const char *name, struct error *err)
{
	if (str_is_empty(name))
		return error_set(err, 400, "No name provided");
	if (strlen(name) > 255 || !text_is_clean(name, false))
		return error_set(err, 400, "Invalid image alias name");
	return 0;
}

int name_check_fingerprint(const char *text, struct error *err)
{
	if (str_is_empty(text) || strlen(text) > SHA256_HEX || !only(text, DIGITS "abcdefABCDEF"))
		return error_set(err, 400, "Invalid image fingerprint");
	return 0;
}

bool name_is_exec_log(const char *name)
{
	const char *rest = startswith(name, "exec_");
	const char *end = endswith(name, ".stdout");
	size_t n;

	if (!end)
		end = endswith(name, ".stderr");
	if (!rest || !end || rest >= end)
		return false;
	n = strspn(rest, LOWER UPPER DIGITS "-_");
	return rest + n == end && strlen(name) < 256;
}

int name_check_log_file(const char *name, struct error *err)
{
	if (streq(name, "lxc.log") || streq(name, "lxc.conf") || name_is_exec_log(name))
		return 0;
	return error_set(err, 404, "Log file not found");
}

bool text_is_clean(const char *text, bool multiline)
{
	size_t left = strlen(text);

	while (left) {
		size_t n = utf8_char_len(text, left);
		bool control = (unsigned char)*text < 0x20 || *text == 0x7f;

		if (n == 0 || (control && !(multiline && strchr("\n\r\t", *text))))
			return false;
		text += n;
		left -= n;
	}
	return true;
}

static const char *const adjectives[] = {
	"able",   "amber", "apt",   "azure", "bold",   "brave",  "brief", "bright", "brisk",  "broad",  "calm",
	"candid", "clean", "clear", "cosy",  "crisp",  "deft",   "eager", "early",  "easy",   "equal",  "fair",
	"fast",   "fine",  "firm",  "fond",  "frank",  "free",   "fresh", "full",   "gentle", "glad",   "gold",
	"grand",  "green", "happy", "hardy", "honest", "humble", "jolly", "keen",   "kind",   "large",  "light",
	"lively", "loyal", "lucky", "merry", "mild",   "neat",   "noble", "open",   "plain",  "polite", "prime",
	"proud",  "quick", "quiet", "rapid", "ready",  "sharp",  "solid", "steady", "swift",  "tidy",   "warm",
};
static const char *const animals[] = {
	"adder", "ant",    "badger", "bat",    "bear",  "beaver", "bee",   "bison", "boar",  "camel", "carp",
	"cat",   "cod",    "colt",   "crab",   "crane", "crow",   "deer",  "dog",   "dove",  "duck",  "eagle",
	"eel",   "egret",  "elk",    "falcon", "finch", "fox",    "frog",  "gecko", "goat",  "goose", "gull",
	"hare",  "hawk",   "heron",  "horse",  "ibex",  "jay",    "koala", "lark",  "lion",  "llama", "lynx",
	"mole",  "moose",  "moth",   "mouse",  "newt",  "otter",  "owl",   "panda", "perch", "pony",  "puffin",
	"quail", "rabbit", "raven",  "robin",  "seal",  "shrew",  "snail", "swan",  "tiger", "trout", "wren",
};

char *instance_name_random(void)
{
	return xasprintf("%s-%s", adjectives[random_below(ARRAY_SIZE(adjectives))],
			 animals[random_below(ARRAY_SIZE(animals))]);
}
