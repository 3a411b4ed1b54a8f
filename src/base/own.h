/*
 * own.h - locals that let go of what they hold when the function returns.
 *
 *     OWN(free) char *name = NULL;        freed at every return
 *     *ret = TAKE(name);                  hands it over: name becomes NULL
 */
#ifndef BASE_OWN_H
#define BASE_OWN_H

#include <stdlib.h>

#define OWN(how) __attribute__((cleanup(own_##how)))
#define TAKE(p) ({ __typeof__(p) taken_ = (p); (p) = NULL; taken_; })

static inline void own_free(void *p)
{
	free(*(void **)p);
}

#endif
