/* permissions.c - may a caller do what it asks?  And the actions that write policies: AddPermission, RemovePermission. */
#include <ctype.h>
#include <stdio.h>

#include "protocols/sqs/policy.h"
#include "protocols/sqs/sqs.h"

enum { LABEL_BYTES = 80, ACTIONS_PER_LABEL = 7 };

/* -------------------------------------------------------------------------------------------------------------- asked ---- */

static bool denied(struct sqs *s, struct slice name)
{
	sqs_refuse(s, "AccessDeniedException", "Access to the resource %.*s is denied.", SLICE_ARGS(name));
	return false;
}

/* "192.0.2.1" of "192.0.2.1:50112", "::1" of "[::1]:50112". */
static void peer_ip(const struct peer *peer, char to[64])
{
	const char *colon = strrchr(peer->address, ':'), *from = peer->address + (*peer->address == '[');
	size_t n = colon ? (size_t)(colon - from) : strlen(from);

	if (from > peer->address && n && from[n - 1] == ']')
		n--;
	memcpy(to, from, n);
	to[n] = '\0';
}

static bool is_ours(const struct sqs *s)
{
	const char *account = s->request.principal.account;

	return !*account || !strcmp(account, s->session.host->settings->sqs_account);
}

/* What would lock the account itself out of its queue for ever is not denied to it. */
static bool mends(const struct sqs *s)
{
	static const char *const always[] = { "SetQueueAttributes", "RemovePermission", "DeleteQueue", "GetQueueAttributes" };

	for (size_t i = 0; s->request.principal.administrator && i < sizeof always / sizeof *always; i++)
		if (!strcmp(s->request.api->name, always[i]))
			return true;
	return false;
}

static bool policy_allows(struct sqs *s, const struct channel *ch)
{
	const struct principal *p = &s->request.principal;
	const struct host *host = s->session.host;
	struct slice document = setting_of(ch->queue, "Policy");
	enum verdict verdict = VERDICT_NONE;
	const struct json *policy = document.n ? policy_of(&s->policies, ch->id, document) : NULL;
	char ip[64];

	if (policy) {
		peer_ip(host->peer, ip);
		const struct caller caller = {
			.account = *p->account ? p->account : host->settings->sqs_account, .user = p->user, .ip = ip,
			.secure = host->peer->secure,
		};
		verdict = policy_judge(policy, &caller, s->request.api->name, queue_arn(s, ch->name));
	} else if (document.n) {
		return false;
	}
	if (verdict == VERDICT_DENY)
		return mends(s);
	return verdict == VERDICT_ALLOW || is_ours(s);
}

bool sqs_allowed(struct sqs *s, enum operation op, const struct channel *ch)
{
	const struct gate *gate = s->session.host->gate;

	if (!gate_allows(gate, &s->request.principal, op, SLICE("/"), ch->name))
		return denied(s, ch->name);
	/* Without keys there are no callers that a policy could speak of. */
	return !gate_has_keys(gate) || policy_allows(s, ch) || denied(s, ch->name);
}

bool sqs_allowed_name(struct sqs *s, enum operation op, struct slice name)
{
	return (gate_allows(s->session.host->gate, &s->request.principal, op, SLICE("/"), name) && is_ours(s)) || denied(s, name);
}

/* ------------------------------------------------------------------------------------------------------------ written ---- */

/* What others may be allowed to do; the rest is the owner's alone. */
static const char *const grantable[] = {
	"*", "SendMessage", "ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "GetQueueAttributes", "GetQueueUrl",
	"ListDeadLetterSourceQueues", "PurgeQueue",
};

static bool is_grantable(struct slice action)
{
	for (size_t i = 0; i < sizeof grantable / sizeof *grantable; i++)
		if (slice_is(action, grantable[i]))
			return true;
	return false;
}

static bool is_action(struct slice name)
{
	for (unsigned i = 0; i < SQS_APIS; i++)
		if (slice_is(name, sqs_apis[i].name))
			return true;
	return false;
}

static bool check_label(struct slice label, struct sqs_error *e)
{
	bool ok = label.n >= 1 && label.n <= LABEL_BYTES;

	for (size_t i = 0; ok && i < label.n; i++)
		ok = isalnum(label.p[i]) || label.p[i] == '-' || label.p[i] == '_';
	return ok || sqs_fail(e, "InvalidParameterValueException", "Value %.*s for parameter Label is invalid. Reason: Can only include "
			      "alphanumeric characters, hyphens, or underscores. 1 to 80 in length.",
			      (int)(label.n < 200 ? label.n : 200), (const char *)label.p);
}

static bool check_accounts(const struct add_permission_request *in, struct sqs_error *e)
{
	for (int32_t i = 0; i < in->aws_account_ids.n; i++) {
		struct slice id = in->aws_account_ids.v[i];
		bool ok = id.n == ACCOUNT_DIGITS;

		for (size_t k = 0; ok && k < id.n; k++)
			ok = isdigit(id.p[k]);
		if (!ok)
			return sqs_fail(e, "InvalidParameterValueException", "Value [%.*s] for parameter PrincipalId is invalid. Reason: "
					"Unable to verify.", (int)(id.n < 100 ? id.n : 100), (const char *)id.p);
	}
	return in->aws_account_ids.n > 0 ||
	       sqs_fail(e, "MissingRequiredParameterException", "The request must contain the parameter AWSAccountIds.");
}

static bool check_actions(const struct add_permission_request *in, struct sqs_error *e)
{
	if (in->actions.n <= 0)
		return sqs_fail(e, "MissingRequiredParameterException", "The request must contain the parameter Actions.");
	if (in->actions.n > ACTIONS_PER_LABEL)
		return sqs_fail(e, "OverLimit", "%d Actions were found, maximum allowed is 7.", in->actions.n);
	for (int32_t i = 0; i < in->actions.n; i++) {
		struct slice name = in->actions.v[i];
		if (!is_grantable(name))
			return sqs_fail(e, "InvalidParameterValueException", "Value SQS:%.*s for parameter ActionName is "
			"invalid. Reason: %s",
					(int)(name.n < 100 ? name.n : 100), (const char *)name.p,
					is_action(name) ? "Only the queue owner is allowed to invoke this action."
							: "Please refer to the appropriate WSDL for a list of valid actions.");
	}
	return true;
}

/* One is a string, several are a list. */
static void put_strings(struct bytes *out, const struct slice *v, int32_t n, const char *before, const char *behind)
{
	bytes_printf(out, n > 1 ? "[" : "");
	for (int32_t i = 0; i < n; i++)
		bytes_printf(out, "%s\"%s%.*s%s\"", i ? "," : "", before, SLICE_ARGS(v[i]), behind);
	bytes_printf(out, n > 1 ? "]" : "");
}

static void write_statement(struct sqs *s, const struct add_permission_request *in, struct slice arn, struct bytes *out)
{
	bytes_printf(out, "{\"Sid\":\"%.*s\",\"Effect\":\"Allow\",\"Principal\":{\"AWS\":", SLICE_ARGS(in->label));
	put_strings(out, in->aws_account_ids.v, in->aws_account_ids.n, "arn:aws:iam::", ":root");
	bytes_printf(out, "},\"Action\":");
	put_strings(out, in->actions.v, in->actions.n, "SQS:", "");
	bytes_printf(out, ",\"Resource\":\"%.*s\"}", SLICE_ARGS(arn));
}

/* The queue's policy without one statement, and with another; the setting goes with the last statement. */
static void set_policy(struct sqs *s, const struct channel *ch, const struct json *policy, struct slice without, struct slice with)
{
	struct bytes document = BYTES_MAX(64 * 1024);
	struct slice id = sqs_text(s, "%.*s/SQSDefaultPolicy", SLICE_ARGS(queue_arn(s, ch->name)));
	unsigned n = policy_rewrite(policy, (const char *)id.p, without, with, &document);
	struct wire_pair pair = { SLICE("Policy"), n ? bytes_slice(&document) : slice_of("", 0) };
	struct sqs_error e = { .shape = "ServiceUnavailable", .message = "out of memory" };
	struct cmd_change *c = NULL;

	if (document.failed) {
		sqs_answer_error(s, &e);
	} else if ((c = queue_alter_begin(s, ch))) {
		if (attributes_apply(s, ch->name, &pair, 1, false, ch->queue->spec->policy.fifo, &c->head, c->queue, &e)) {
			queue_alter_send(s, c);
		} else {
			cmd_free(&c->head);
			sqs_answer_error(s, &e);
		}
	}
	bytes_free(&document);
}

/* False: there is none, or it cannot be read. */
static bool read_policy(struct sqs *s, const struct channel *ch, struct json *ret)
{
	struct slice document = setting_of(ch->queue, "Policy");
	struct sqs_error e;

	return document.n && policy_read(&s->request.arena, document, ret, &e);
}

void sqs_on_add_permission(struct sqs *s, struct request *r)
{
	const struct add_permission_request *in = r->in;
	const struct channel *ch = sqs_find_queue(s, in->queue_url);
	struct bytes statement = BYTES_MAX(64 * 1024);
	struct sqs_error e = { 0 };
	struct json policy;
	bool has;

	if (!ch || !sqs_allowed(s, OP_CONFIGURE, ch))
		return;
	if (!check_label(in->label, &e) || !check_accounts(in, &e) || !check_actions(in, &e)) {
		sqs_answer_error(s, &e);
		return;
	}
	has = read_policy(s, ch, &policy);
	if (has && policy_statement(&policy, in->label)) {
		sqs_refuse(s, "InvalidParameterValueException", "Value %.*s for parameter Label is invalid. Reason: Already exists.",
			   SLICE_ARGS(in->label));
		return;
	}
	write_statement(s, in, queue_arn(s, ch->name), &statement);
	set_policy(s, ch, has ? &policy : NULL, SLICE_NULL, bytes_slice(&statement));
	bytes_free(&statement);
}

void sqs_on_remove_permission(struct sqs *s, struct request *r)
{
	const struct remove_permission_request *in = r->in;
	const struct channel *ch = sqs_find_queue(s, in->queue_url);
	struct json policy;

	if (!ch || !sqs_allowed(s, OP_CONFIGURE, ch))
		return;
	if (!read_policy(s, ch, &policy) || !policy_statement(&policy, in->label)) {
		sqs_refuse(s, "InvalidParameterValueException", "Value %.*s for parameter Label is invalid. Reason: can't find label.",
			   (int)(in->label.n < 200 ? in->label.n : 200), (const char *)in->label.p);
		return;
	}
	set_policy(s, ch, &policy, in->label, SLICE_NULL);
}
