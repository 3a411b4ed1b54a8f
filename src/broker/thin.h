/* thin.h - taking the records out of a batch that nobody needs any more, before it is written again. */
#ifndef BROKER_THIN_H
#define BROKER_THIN_H

#include "broker/batch.h"

/*
 * Leave only the records whose offset delta `keeps` says yes to; the batch becomes shorter where it is, and its other
 * fields stay, its last offset included.  Returns its size: unchanged if all stay, none would, or it cannot be done
 * (compressed, transactional, a Kafka client's own).
 */
uint32_t batch_thin(uint8_t *batch, uint32_t size, bool (*keeps)(void *ctx, int32_t delta), void *ctx);

#endif
