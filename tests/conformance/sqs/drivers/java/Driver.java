// The AWS SDK for Java v2 at the other end of a pipe: see ../README.md.
//
// Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.core.SdkField;
import software.amazon.awssdk.core.SdkPojo;
import software.amazon.awssdk.core.protocol.MarshallingType;
import software.amazon.awssdk.core.traits.ListTrait;
import software.amazon.awssdk.core.traits.MapTrait;
import software.amazon.awssdk.core.util.SdkAutoConstructList;
import software.amazon.awssdk.core.util.SdkAutoConstructMap;
import software.amazon.awssdk.core.util.VersionInfo;
import software.amazon.awssdk.core.retry.RetryMode;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.protocols.jsoncore.JsonNode;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.sqs.SqsClient;
import software.amazon.awssdk.utils.builder.SdkBuilder;

public class Driver {
	static final String MODEL = "software.amazon.awssdk.services.sqs.model.";

	static SqsClient connect(String address) {
		return SqsClient.builder().endpointOverride(URI.create("http://" + address)).region(Region.US_EAST_1)
			.credentialsProvider(StaticCredentialsProvider.create(AwsBasicCredentials.create("local", "local")))
			.httpClient(UrlConnectionHttpClient.create())
			.overrideConfiguration(o -> o.retryStrategy(RetryMode.STANDARD).retryStrategy(s -> s.maxAttempts(1))).build();
	}

	/* Members by their names in JSON, into the builder of a shape. */
	static Object fill(SdkPojo builder, JsonNode from) {
		for (SdkField<?> f : builder.sdkFields())
			from.field(f.locationName()).ifPresent(v -> f.set(builder, value(f, v)));
		return ((SdkBuilder<?, ?>) builder).build();
	}

	static Object value(SdkField<?> f, JsonNode v) {
		MarshallingType<?> type = f.marshallingType();
		if (type == MarshallingType.STRING)
			return v.text();
		if (type == MarshallingType.INTEGER)
			return Integer.valueOf(v.text());
		if (type == MarshallingType.SDK_BYTES)
			return SdkBytes.fromByteArray(Base64.getDecoder().decode(v.text()));
		if (type == MarshallingType.LIST) {
			List<Object> list = new ArrayList<>();
			SdkField<?> of = f.getTrait(ListTrait.class).memberFieldInfo();
			v.asArray().forEach(one -> list.add(value(of, one)));
			return list;
		}
		if (type == MarshallingType.MAP) {
			Map<String, Object> map = new LinkedHashMap<>();
			SdkField<?> of = f.getTrait(MapTrait.class).valueFieldInfo();
			v.asObject().forEach((k, one) -> map.put(k, value(of, one)));
			return map;
		}
		return fill(f.constructor().get(), v);
	}

	static String quoted(String s) {
		StringBuilder out = new StringBuilder("\"");
		for (char c : s.toCharArray())
			if (c == '"' || c == '\\')
				out.append('\\').append(c);
			else if (c < 0x20 || c > 0x7e)
				out.append(String.format("\\u%04x", (int) c));
			else
				out.append(c);
		return out.append('"').toString();
	}

	static String json(Object v) {
		if (v instanceof SdkPojo) {
			List<String> members = new ArrayList<>();
			for (SdkField<?> f : ((SdkPojo) v).sdkFields()) {
				Object one = f.getValueOrDefault(v);
				if (one != null && !(one instanceof SdkAutoConstructList) && !(one instanceof SdkAutoConstructMap))
					members.add(quoted(f.locationName()) + ":" + json(one));
			}
			return "{" + String.join(",", members) + "}";
		}
		if (v instanceof List) {
			List<String> all = new ArrayList<>();
			((List<?>) v).forEach(one -> all.add(json(one)));
			return "[" + String.join(",", all) + "]";
		}
		if (v instanceof Map) {
			List<String> all = new ArrayList<>();
			((Map<?, ?>) v).forEach((k, one) -> all.add(quoted(k.toString()) + ":" + json(one)));
			return "{" + String.join(",", all) + "}";
		}
		if (v instanceof SdkBytes)
			return quoted(Base64.getEncoder().encodeToString(((SdkBytes) v).asByteArray()));
		return v instanceof Number || v instanceof Boolean ? v.toString() : quoted(v.toString());
	}

	static String call(SqsClient client, String action, JsonNode input) throws Exception {
		Class<?> shape = Class.forName(MODEL + action + "Request");
		Object request = fill((SdkPojo) shape.getMethod("builder").invoke(null), input);
		String method = Character.toLowerCase(action.charAt(0)) + action.substring(1);
		try {
			return "{\"ok\":" + json(SqsClient.class.getMethod(method, shape).invoke(client, request)) + "}";
		} catch (java.lang.reflect.InvocationTargetException e) {
			if (!(e.getCause() instanceof AwsServiceException))
				return "{\"error\":" + quoted(e.getCause().toString()) + ",\"code\":null,\"status\":null}";
			AwsServiceException said = (AwsServiceException) e.getCause();
			return "{\"error\":" + quoted(said.awsErrorDetails().errorMessage()) + ",\"code\":" +
				quoted(said.awsErrorDetails().errorCode()) + ",\"status\":" + said.statusCode() + "}";
		}
	}

	public static void main(String[] arguments) throws Exception {
		BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
		PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
		SqsClient client = null;
		for (String line; (line = in.readLine()) != null; ) {
			JsonNode command = JsonNode.parser().parse(line);
			if (command.field("do").get().text().equals("hello")) {
				client = connect(command.field("address").get().text());
				out.println("{\"ok\":\"AWS SDK for Java " + VersionInfo.SDK_VERSION + "\"}");
			} else {
				out.println(call(client, command.field("action").get().text(), command.field("input").get()));
			}
		}
	}
}
