/* crc.h - CRC-32C (Castagnoli), the checksum of Kafka batches and of every file of ours. */
#ifndef BASE_CRC_H
#define BASE_CRC_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of p[0..n); pass the result of an earlier call as `crc` to go on where it stopped, 0 to begin. */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);

#endif
