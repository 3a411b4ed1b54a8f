#include "protocols/amqp/declare.h"

#include <stdio.h>

#include "protocols/amqp/amqp.h"
#include "wire/table.h"

int amqp_queue_spec(struct host *host, const struct principal *who, struct slice vhost, struct slice name, struct queue_spec *spec,
		    char reason[256])
{
	struct conn c = { .session = { .protocol = &amqp_protocol, .host = host }, .who = *who };
	int r;

	name_set(&c.vhost, vhost);
	r = table_check(spec->arguments, NULL) < 0 ? refuse(&c, 502, "malformed arguments")
						   : queue_arguments(&c, name, spec->arguments, spec);
	snprintf(reason, 256, "%s", c.reason);
	return r;
}
