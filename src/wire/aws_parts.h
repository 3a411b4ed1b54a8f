/* aws_parts.h - what the decoders of JSON and Query share; not for outsiders. */
#ifndef WIRE_AWS_PARTS_H
#define WIRE_AWS_PARTS_H

#include "wire/wire.h"

/* Every required member, at every depth. */
int aws_check_required(const struct wire_msg *m, const void *structure, struct why *why);

/* Decimal digits with or without a minus; false (and *to untouched) if it is something else or does not fit the type. */
bool aws_parse_integer(unsigned type, struct slice text, void *to);

/* The value of a hexadecimal digit, or -1. */
int hex_value(uint8_t c);

#endif
