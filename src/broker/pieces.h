/*
 * pieces.h - the state of the broker as far as a checkpoint writes it in pieces: only what has changed since the last one.
 *
 * A key is the number of a part and what the part knows its piece by.  What is not here is in the snapshot (broker.c),
 * and written every time.
 */
#ifndef BROKER_PIECES_H
#define BROKER_PIECES_H

#include "base/bytes.h"
#include "broker/core.h"

/* In the order in which they are restored.  On disk: never renumber. */
enum piece_part {
	PIECE_HEAD = 1,         /* of the catalogue; with more behind it: the identity of a decree */
	PIECE_CHANNEL = 2,      /* id u32 (big-endian) */
	PIECE_EXCHANGE = 3,     /* size of the virtual host's name u16, its name, the exchange's */
	PIECE_BINDING = 4,      /* size of the virtual host's name u16, its name, what makes two bindings the same */
	PIECE_QUEUE = 5,        /* id of the channel u32 */
	PIECE_MOVE = 6,         /* id of the channel u32: its move tasks */
};

enum { PIECE_ID_KEY = 5 };

static inline void piece_id_key(enum piece_part part, uint32_t id, uint8_t ret[PIECE_ID_KEY])
{
	ret[0] = (uint8_t)part;
	put_be32(ret + 1, id);
}

/* pieces.c: the log's questions */
bool piece_write(void *broker, struct slice key, struct bytes *out);
int  piece_read(void *broker, struct slice key, struct slice value, struct why *why);
void pieces_touch_all(void *broker);

/* catalogue_piece.c; `key` is without the part */
bool catalogue_piece_write(struct broker *b, enum piece_part part, struct slice key, struct bytes *out);
int  catalogue_piece_read(struct broker *b, enum piece_part part, struct slice key, struct slice value, struct why *why);
void catalogue_touch_head(struct broker *b);
void catalogue_touch_all(struct broker *b);

/* queue.c */
bool queue_piece_write(struct broker *b, uint32_t channel, struct bytes *out);
void queue_piece_touch(struct broker *b, uint32_t channel);

/* queue_move.c */
bool moves_piece_write(struct broker *b, uint32_t channel, struct bytes *out);
int  moves_piece_read(struct broker *b, struct slice value, struct why *why);
void moves_touch_all(struct broker *b);

#endif
