/*
 * aws.h - the four texts of an AWS shape: JSON and Query in, JSON and XML out, all from one table (dialect aws).
 *
 *      {"QueueUrl": "..."}                          --aws_decode_json-->   struct send_message_request
 *      Action=SendMessage&QueueUrl=...              --aws_decode_query->
 *      {"MessageId": "..."}                         <--aws_encode_json--   struct send_message_result
 *      <MessageId>...</MessageId>                   <--aws_encode_xml---
 *
 * In the structures an absent string or blob is null, an absent list or map has n == -1, an absent number or boolean
 * has has_x == false.  Blobs are plain bytes in memory and base64 in all four texts.
 * Lists and maps are "flattened" in Query and XML, as all of SQS's are: the field's `query` name is every element's name.
 */
#ifndef WIRE_AWS_H
#define WIRE_AWS_H

#include "wire/wire.h"

enum { QUERY_MAX_PARAMETERS = 10000 };

/*
 * Read a request.  Strings point into `in` if nothing in them was escaped, else into the arena.  Unknown members and
 * parameters are passed over, null is absent, a body of nothing is {}.
 * All text must be UTF-8; \u escapes must be whole surrogate pairs; JSON nests at most WIRE_MAX_DEPTH deep; a list's
 * numbers may come in any order and with gaps; a whole number may stand in quotes.
 *
 * Fails with ERR_MALFORMED (why: "WaitTimeSeconds: is no whole number that fits (byte 20)"),
 * ERR_BAD_ARGUMENT only if a required member is missing ("The request must contain the parameter QueueUrl."),
 * or ERR_NO_MEMORY (the arena's ceiling).
 */
int aws_decode_json(const struct wire_msg *m, struct slice in, struct arena *a, void *out, struct why *why);
int aws_decode_query(const struct wire_msg *m, struct slice form, struct arena *a, void *out, struct why *why);

/*
 * Append a response: "{...}", or the XML of the members without an element around them.
 * What is absent is left out; so is a list or map of nothing, except in JSON if it is `required`.
 * Strings must be UTF-8 (they are not checked again).
 */
void aws_encode_json(const struct wire_msg *m, const void *in, struct bytes *out);
void aws_encode_xml(const struct wire_msg *m, const void *in, struct bytes *out);

/* The value of one parameter of a form (`Action`, `QueueUrl`), decoded; false if it is not there or malformed. */
bool query_find(struct slice form, const char *name, struct arena *a, struct slice *ret);

/* Append text: as a JSON string with its quotes; as XML character data, with " and CR escaped as SQS does. */
void json_put_text(struct bytes *out, struct slice text);
void xml_put_text(struct bytes *out, struct slice text);

#endif
