#include "runtime/syncs.h"

#include <errno.h>
#include <stdatomic.h>

#include "base/test.h"

enum { FILES = 40, BAD = 7 };

static _Atomic int synced[FILES];

static int sync_fake(void *ctx, int file)
{
	atomic_fetch_add(&synced[file], 1);
	return ctx && file == BAD ? -EIO : 0;
}

/* As many times as asked; each file once a time, whatever happens to another. */
TEST(all_files_are_synced_and_an_error_is_not_lost)
{
	for (int bad = 0; bad < 2; bad++) {
		struct syncs s;
		int files[FILES];

		for (int i = 0; i < FILES; i++) {
			files[i] = i;
			atomic_store(&synced[i], 0);
		}
		syncs_init(&s, sync_fake, bad ? &s : NULL);
		for (int round = 0; round < 200; round++)
			CHECK(syncs_run(&s, files, 1 + round % FILES) == (bad && round % FILES >= BAD ? -EIO : 0));
		for (int i = 0; i < FILES; i++)
			CHECK(atomic_load(&synced[i]) == 200 / FILES * (FILES - i));
		syncs_end(&s);
	}
}
