/*
 * queue_reader.h - the payload of a queue's messages, by offset, from memory or from the disk.
 *
 * A reader remembers the batches of its last read and its place in the open one, so that messages in their order cost
 * one step each.  Reading never blocks: READ_LATER means that a read is under way and wake() will be called.
 */
#ifndef BROKER_QUEUE_READER_H
#define BROKER_QUEUE_READER_H

#include "broker/batch.h"
#include "log/log.h"

struct reader;

enum read_result {
	READ_DONE,
	READ_LATER,                     /* wake() will tell */
	READ_MISSING,                   /* there is no such record: deleted, compacted, a control record */
	READ_DAMAGED,                   /* it does not have its checksum, or nobody can unpack it: it never will */
	READ_BROKEN,                    /* the disk; what nobody knows the extent of; also when memory is short */
};

struct reader_record {
	struct record record;
	enum origin origin;
	bool may_have_died;             /* its hawser-death header can be trusted */
	int64_t timestamp_ms;
	struct view hold;               /* the reader's: take a reference to keep the record */
	int64_t transaction;            /* the producer whose transaction it is; -1: of none */
};

/* Reads under way are kept in `readings`, because they may outlive their reader. */
struct reader *reader_new(struct node *readings, void (*wake)(void *ctx), void *ctx);
void reader_free(struct reader *r);     /* also with a read under way; NULL is fine */
/* The log is about to be closed: nothing will be read any more. */
void readings_free(struct node *readings);

/*
 * This batch has just become durable: who looks for it until reader_end_offers() need not ask the log.
 */
void reader_offer(struct reader *r, uint32_t partition, int64_t base, const struct batch *batch, struct view bytes);
void reader_end_offers(struct reader *r);
/* It will be asked soon.  NULL is fine. */
void reader_expect(const struct reader *r);

/* The record at `offset` of a log partition; valid until the next call. */
enum read_result reader_get(struct reader *r, struct log *log, uint32_t partition, int64_t offset,
			    struct reader_record *ret);

#endif
