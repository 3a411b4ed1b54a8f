/* keys.h - the keys for bodies at rest, from their files. */
#ifndef SERVER_KEYS_H
#define SERVER_KEYS_H

#include "broker/seal.h"
#include "server/config.h"

/*
 * The file of sqs.sse_key_file (DATA/sse.key, unless told) is made if it is not there; that of sqs.kms_key_file must be.  A key
 * is 64 hexadecimal digits; a file that we make has a line with their checksum behind them, which is looked at.  The data
 * directory must be there.  ERR_DISK, ERR_MALFORMED, ERR_DAMAGED.
 */
int keys_load(const struct config *c, struct seal_keys *ret, struct why *why);

#endif
