#include "db/schema.h"

#include <stdlib.h>

#include "base/macros.h"

/* Plain SQL only: config, devices, profiles and properties are JSON text. Times are nanoseconds since the epoch. */
static const char *const steps[] = {
	"CREATE TABLE config (key TEXT PRIMARY KEY, value TEXT NOT NULL);"
	"CREATE TABLE projects (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, description TEXT NOT NULL,"
	" config TEXT NOT NULL);"
	"INSERT INTO projects (name, description, config) VALUES ('default', 'Default LXD project',"
	" '{\"features.images\":\"true\",\"features.networks\":\"true\",\"features.profiles\":\"true\","
	"\"features.storage.volumes\":\"true\"}');"
	"CREATE TABLE storage_pools (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, driver TEXT NOT NULL,"
	" description TEXT NOT NULL, config TEXT NOT NULL);"
	"CREATE TABLE profiles (id INTEGER PRIMARY KEY, project TEXT NOT NULL REFERENCES projects (name),"
	" name TEXT NOT NULL, description TEXT NOT NULL, config TEXT NOT NULL, devices TEXT NOT NULL,"
	" UNIQUE (project, name));"
	"INSERT INTO profiles (project, name, description, config, devices)"
	" VALUES ('default', 'default', 'Default LXD profile', '{}', '{}');"
	"CREATE TABLE images (id INTEGER PRIMARY KEY, project TEXT NOT NULL REFERENCES projects (name),"
	" fingerprint TEXT NOT NULL, filename TEXT NOT NULL, architecture TEXT NOT NULL, type TEXT NOT NULL,"
	" size INTEGER NOT NULL, public INTEGER NOT NULL, auto_update INTEGER NOT NULL, cached INTEGER NOT NULL,"
	" split INTEGER NOT NULL, created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL,"
	" uploaded_at INTEGER NOT NULL, last_used_at INTEGER NOT NULL, properties TEXT NOT NULL,"
	" profiles TEXT NOT NULL, meta_ext TEXT NOT NULL, rootfs_ext TEXT NOT NULL, staging TEXT,"
	" phase INTEGER NOT NULL, UNIQUE (project, fingerprint));"
	"CREATE TABLE image_aliases (id INTEGER PRIMARY KEY, project TEXT NOT NULL REFERENCES projects (name),"
	" name TEXT NOT NULL, description TEXT NOT NULL,"
	" image_id INTEGER NOT NULL REFERENCES images (id) ON DELETE CASCADE, UNIQUE (project, name));"
	"CREATE TABLE instances (id INTEGER PRIMARY KEY, project TEXT NOT NULL REFERENCES projects (name),"
	" name TEXT NOT NULL, architecture TEXT NOT NULL, description TEXT NOT NULL, pool TEXT NOT NULL,"
	" staging TEXT, ephemeral INTEGER NOT NULL, config TEXT NOT NULL, volatile TEXT NOT NULL,"
	" devices TEXT NOT NULL, profiles TEXT NOT NULL, created_at INTEGER NOT NULL,"
	" last_used_at INTEGER NOT NULL, phase INTEGER NOT NULL, UNIQUE (project, name));",

	/* who is trusted from afar, invitations, and what went wrong; projects of a certificate are a JSON list of
	   names */
	"CREATE TABLE certificates (id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL UNIQUE, type TEXT NOT NULL,"
	" name TEXT NOT NULL, restricted INTEGER NOT NULL, projects TEXT NOT NULL, certificate TEXT NOT NULL,"
	" added_at INTEGER NOT NULL);"
	"CREATE TABLE tokens (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,"
	" secret TEXT NOT NULL, request TEXT NOT NULL, created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL);"
	"CREATE TABLE warnings (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, type TEXT NOT NULL,"
	" project TEXT NOT NULL, entity TEXT NOT NULL, message TEXT NOT NULL, severity TEXT NOT NULL,"
	" status TEXT NOT NULL, count INTEGER NOT NULL, first_seen INTEGER NOT NULL, last_seen INTEGER NOT NULL,"
	" UNIQUE (type, project, entity));"
	"CREATE TABLE audit (id INTEGER PRIMARY KEY CHECK (id = 1), head TEXT NOT NULL, count INTEGER NOT NULL,"
	" first INTEGER NOT NULL, first_prev TEXT NOT NULL);"
	/* since when the trust password is what it is: digest is SHA-256 of the stored hash */
	"CREATE TABLE trust_password (id INTEGER PRIMARY KEY CHECK (id = 1), digest TEXT NOT NULL,"
	" set_at INTEGER NOT NULL);",

	/* where an image came from: JSON, or nothing */
	"ALTER TABLE images ADD COLUMN source TEXT NOT NULL DEFAULT '';",

	/* managed networks; hwaddr is what the bridge has unless its configuration says otherwise, new_name that of a
	   rename which has begun */
	"CREATE TABLE networks (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, type TEXT NOT NULL,"
	" description TEXT NOT NULL, config TEXT NOT NULL, hwaddr TEXT NOT NULL, new_name TEXT,"
	" phase INTEGER NOT NULL);",

	/* who holds which role where: a certificate, a user of the identity provider, or a group of them. Rights name
	   projects by reference, so that they follow a rename and go with the project; ids of projects are never used
	   twice */
	"CREATE TABLE project_serial (id INTEGER PRIMARY KEY CHECK (id = 1), last INTEGER NOT NULL);"
	"INSERT INTO project_serial SELECT 1, max(id) FROM projects;"
	"CREATE TABLE certificate_projects (id INTEGER PRIMARY KEY,"
	" certificate_id INTEGER NOT NULL REFERENCES certificates (id) ON DELETE CASCADE,"
	" project TEXT NOT NULL REFERENCES projects (name) ON UPDATE CASCADE ON DELETE CASCADE,"
	" UNIQUE (certificate_id, project));"
	"INSERT INTO certificate_projects (certificate_id, project) SELECT DISTINCT c.id, j.value"
	" FROM certificates c, json_each(c.projects) j WHERE j.value IN (SELECT name FROM projects);"
	"ALTER TABLE certificates DROP COLUMN projects;"
	"CREATE TABLE auth_groups (name TEXT PRIMARY KEY, description TEXT NOT NULL);"
	"CREATE TABLE auth_members (id INTEGER PRIMARY KEY,"
	" group_name TEXT NOT NULL REFERENCES auth_groups (name) ON DELETE CASCADE,"
	" certificate_id INTEGER REFERENCES certificates (id) ON DELETE CASCADE, user TEXT,"
	" CHECK ((certificate_id IS NULL) + (user IS NULL) = 1));"
	"CREATE UNIQUE INDEX auth_members_once ON auth_members (group_name, ifnull(certificate_id, 0),"
	" ifnull(user, ''));"
	"CREATE TABLE auth_bindings (id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" certificate_id INTEGER REFERENCES certificates (id) ON DELETE CASCADE, user TEXT,"
	" group_name TEXT REFERENCES auth_groups (name) ON DELETE CASCADE,"
	" role TEXT NOT NULL, scope TEXT NOT NULL,"
	" project TEXT REFERENCES projects (name) ON UPDATE CASCADE ON DELETE CASCADE,"
	" CHECK ((certificate_id IS NULL) + (user IS NULL) + (group_name IS NULL) = 2),"
	" CHECK ((scope = 'project') = (project IS NOT NULL)));"
	"CREATE UNIQUE INDEX auth_bindings_once ON auth_bindings (ifnull(certificate_id, 0), ifnull(user, ''),"
	" ifnull(group_name, ''), role, scope, ifnull(project, ''));",

	/* with which logins by the identity provider are checked */
	"CREATE TABLE macaroon_keys (id TEXT PRIMARY KEY, key TEXT NOT NULL, created_at INTEGER NOT NULL,"
	" expires_at INTEGER NOT NULL);",

	/* what instances were; volume is the name on disk */
	"CREATE TABLE instance_snapshots (id INTEGER PRIMARY KEY,"
	" instance_id INTEGER NOT NULL REFERENCES instances (id) ON DELETE CASCADE, name TEXT NOT NULL,"
	" volume TEXT NOT NULL, staging TEXT, architecture TEXT NOT NULL, ephemeral INTEGER NOT NULL,"
	" config TEXT NOT NULL, volatile TEXT NOT NULL, devices TEXT NOT NULL, profiles TEXT NOT NULL,"
	" created_at INTEGER NOT NULL, last_used_at INTEGER NOT NULL, expires_at INTEGER NOT NULL,"
	" phase INTEGER NOT NULL, UNIQUE (instance_id, name));",

	/* the container is held still while it is being made */
	"ALTER TABLE instance_snapshots ADD COLUMN frozen INTEGER NOT NULL DEFAULT 0;",
};

int64_t schema_version(void)
{
	return (int64_t)ARRAY_SIZE(steps);
}

const char *schema_step(size_t from)
{
	if (from >= ARRAY_SIZE(steps))
		abort();
	return steps[from];
}
