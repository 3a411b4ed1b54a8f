#include "base/crc.h"

#include <isa-l/crc.h>

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
	/* ISA-L takes and returns the inverted register, and an int length. */
	crc = ~crc;
	while (n > 0) {
		int step = n > (1 << 30) ? 1 << 30 : (int)n;
		crc = crc32_iscsi((unsigned char *)(uintptr_t)p, step, crc);
		p = (const uint8_t *)p + step;
		n -= (size_t)step;
	}
	return ~crc;
}
