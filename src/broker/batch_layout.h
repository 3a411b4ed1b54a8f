/* batch_layout.h - where the fields of a batch's header are, and its attributes; for those who write batches. */
#ifndef BROKER_BATCH_LAYOUT_H
#define BROKER_BATCH_LAYOUT_H

#include "broker/batch.h"

enum {
	AT_LENGTH = 8, AT_EPOCH = 12, AT_MAGIC = 16, AT_CRC = 17, AT_ATTRIBUTES = 21, AT_LAST_DELTA = 23,
	AT_BASE_TIMESTAMP = 27, AT_MAX_TIMESTAMP = 35, AT_PRODUCER_ID = 43, AT_PRODUCER_EPOCH = 51,
	AT_BASE_SEQUENCE = 53, AT_COUNT = 57,

	MAGIC = 2,
	LENGTH_FROM = 12,       /* batchLength counts what follows itself */

	ATTR_CODEC = 7, ATTR_APPEND_TIME = 1 << 3, ATTR_TRANSACTIONAL = 1 << 4, ATTR_CONTROL = 1 << 5, ATTR_HORIZON = 1 << 6,
};

#endif
