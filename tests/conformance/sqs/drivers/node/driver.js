// The AWS SDKs for JavaScript, v3 and v2, and sqs-consumer: see ../README.md.  Which one is the first argument.
//
// Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
'use strict';

// The packages are where setup put them, beside no code of ours.
const load = require('module').createRequire(process.cwd() + '/');
const version = (name) => JSON.parse(require('fs').readFileSync(process.cwd() + '/node_modules/' + name + '/package.json')).version;
const keys = { accessKeyId: 'local', secretAccessKey: 'local' };

// Blobs are base64 on the pipe.
function blobs(tree, turn) {
	if (Array.isArray(tree)) return tree.map((v) => blobs(v, turn));
	if (tree === null || typeof tree !== 'object' || Buffer.isBuffer(tree) || tree instanceof Uint8Array) return tree;
	const out = {};
	for (const [k, v] of Object.entries(tree)) {
		if (v !== undefined) out[k] = k === 'BinaryValue' ? turn(v) : blobs(v, turn);
	}
	return out;
}
const decoded = (tree) => blobs(tree, (v) => Buffer.from(v, 'base64'));
const encoded = (tree) => blobs(tree, (v) => Buffer.from(v).toString('base64'));

function v3(address) {
	const sdk = load('@aws-sdk/client-sqs');
	const client = new sdk.SQSClient({ endpoint: 'http://' + address, region: 'us-east-1', credentials: keys, maxAttempts: 1 });
	return {
		name: 'AWS SDK for JavaScript ' + version('@aws-sdk/client-sqs'),
		client,
		call: async (action, input) => {
			const answer = await client.send(new sdk[action + 'Command'](decoded(input)));
			delete answer.$metadata;
			return encoded(answer);
		},
		refused: (e) => ({ error: e.message, code: e.Code || e.name, status: e.$metadata && e.$metadata.httpStatusCode }),
	};
}

function v2(address) {
	process.env.AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE = '1';
	const sdk = load('aws-sdk');
	const client = new sdk.SQS({ endpoint: 'http://' + address, region: 'us-east-1', credentials: keys, maxRetries: 0 });
	return {
		name: 'AWS SDK for JavaScript ' + version('aws-sdk'),
		call: async (action, input) => {
			const { $response, ...answer } = await client[action[0].toLowerCase() + action.slice(1)](decoded(input)).promise();
			return encoded(answer);
		},
		refused: (e) => ({ error: e.message, code: e.code, status: e.statusCode }),
	};
}

function consumer(address) {
	const it = v3(address);
	const { Consumer } = load('sqs-consumer');
	it.name = 'sqs-consumer ' + version('sqs-consumer');
	it.consume = (command) => new Promise((resolve, reject) => {
		const bodies = [];
		const app = Consumer.create({
			queueUrl: command.queue, sqs: it.client, batchSize: 10, waitTimeSeconds: 1,
			handleMessage: async (message) => { bodies.push(message.Body); return message; },
		});
		const end = setTimeout(() => app.stop(), command.wait_ms);
		app.on('error', reject);
		app.on('processing_error', reject);
		app.on('message_processed', () => { if (bodies.length >= command.count) app.stop(); });
		app.on('stopped', () => { clearTimeout(end); resolve(bodies); });
		app.start();
	});
	return it;
}

let library;
async function act(command) {
	if (command.do === 'hello') {
		library = { v3, v2, consumer }[process.argv[2]](command.address);
		return { ok: library.name };
	}
	try {
		return { ok: command.do === 'consume' ? await library.consume(command) : await library.call(command.action, command.input) };
	} catch (e) {
		return library.refused(e);
	}
}

let before = Promise.resolve();
require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
	before = before.then(() => act(JSON.parse(line))).then((said) => process.stdout.write(JSON.stringify(said) + '\n'));
}).on('close', () => process.exit(0));
