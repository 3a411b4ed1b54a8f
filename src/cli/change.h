/* change.h - `hawser topics create`, `alter` and `delete`. */
#ifndef CLI_CHANGE_H
#define CLI_CHANGE_H

#include "cli/question.h"

extern const char change_usage[];       /* lines of help */

/* If the first word is one of the above, do it and set *status, the exit status.  False: it is not, or words are missing. */
bool change_topic(const struct question *q, int *status, struct why *why);

#endif
