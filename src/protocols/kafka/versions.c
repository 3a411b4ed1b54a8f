/*
 * versions.c - ApiVersions: what we serve, to whoever asks, in any version that she may ask in.
 */
#include "protocols/kafka/kafka.h"

static struct api_versions_response_api row(const struct wire_api *wire)
{
	return (struct api_versions_response_api){
		.api_key = wire->key, .min_version = wire->serve.since, .max_version = wire->serve.until,
	};
}

/*
 * transaction.version 2 (KIP-890): a client that sees it lets partitions add themselves to its transactions, and raises
 * its epoch with each.  Before version 4 of this request a feature that may be at level 0 cannot be told (KIP-1022).
 */
static bool add_features(struct request *r)
{
	enum { TRANSACTION_VERSION = 2 };
	struct api_versions_response *out = r->out;

	if (!ARRAY(r, out->finalized_features, api_versions_response_finalized_feature_msg, 1))
		return false;
	out->finalized_features.v[0] = (struct api_versions_response_finalized_feature){
		.name = SLICE("transaction.version"), .max_version_level = TRANSACTION_VERSION,
		.min_version_level = TRANSACTION_VERSION,
	};
	out->finalized_features_epoch = 1;
	if (r->version < 4)
		return true;
	if (!ARRAY(r, out->supported_features, api_versions_response_supported_feature_msg, 1))
		return false;
	out->supported_features.v[0] = (struct api_versions_response_supported_feature){
		.name = SLICE("transaction.version"), .min_version = 0, .max_version = TRANSACTION_VERSION,
	};
	return true;
}

/* A letter or digit at both ends, and between them these or dashes and dots: Kafka's rule for names and versions of clients. */
static bool legal_software(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		uint8_t c = s.p[i];
		bool inner = i > 0 && i + 1 < s.n && (c == '-' || c == '.');

		if (!inner && !(c >= '0' && c <= '9') && !(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z'))
			return false;
	}
	return s.n > 0;
}

/* KIP-1242: a client may say whom it believes that it has reached; both, or nothing. */
static int16_t check(const struct request *r)
{
	const struct api_versions_request *in = r->in;

	if (r->version >= 3 && (!legal_software(in->client_software_name) || !legal_software(in->client_software_version)))
		return K_INVALID_REQUEST;
	if (r->version < 5 || (!in->cluster_id.p && in->node_id == -1))
		return K_NONE;
	if (!in->cluster_id.p || in->node_id == -1)
		return K_INVALID_REQUEST;
	return slice_is(in->cluster_id, settings_of(r)->cluster_id) && in->node_id == NODE_ID ? K_NONE : K_REBOOTSTRAP_REQUIRED;
}

void serve_api_versions(struct request *r)
{
	struct api_versions_response *out = r->out;
	const struct wire_api *wire;

	out->error_code = check(r);
	if (out->error_code)
		return;
	if (!ARRAY(r, out->api_keys, api_versions_response_api_msg, KAFKA_APIS) || !add_features(r))
		return;
	out->api_keys.n = 0;
	for (int i = 0; i < KAFKA_APIS; i++) {
		if (api_find(kafka_apis[i].key, &wire))
			out->api_keys.v[out->api_keys.n++] = row(wire);
	}
}

/*
 * A version that we do not know: KIP-511 wants error 35 in the oldest form, with our range of this very API, so that
 * the client asks again.  The request is answered in its turn like any other.
 */
static void say_our_range(struct request *r)
{
	struct api_versions_response *out = r->out;

	if (!ARRAY(r, out->api_keys, api_versions_response_api_msg, 1))
		return;
	out->error_code = K_UNSUPPORTED_VERSION;
	out->api_keys.v[0] = row(r->wire);
	r->version = 0;
}

int answer_unknown_api_versions(struct request *r)
{
	static const struct api answer = { say_our_range, .stranger = true };

	r->api = &answer;
	r->out = request_array(r, r->wire->response, 1);
	if (!r->out)
		return -ERR_NO_MEMORY;
	request_run(r);
	return 0;
}
