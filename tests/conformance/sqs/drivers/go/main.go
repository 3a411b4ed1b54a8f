// The AWS SDK for Go v2 at the other end of a pipe: see ../README.md.
//
// Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime/debug"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

type command struct {
	Do      string
	Address string
	Action  string
	Input   json.RawMessage
}

type keys struct{}

func (keys) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: "local", SecretAccessKey: "local"}, nil
}

func connect(address string) *sqs.Client {
	return sqs.New(sqs.Options{Region: "us-east-1", Credentials: keys{}, BaseEndpoint: aws.String("http://" + address),
		RetryMaxAttempts: 1})
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "github.com/aws/aws-sdk-go-v2/service/sqs" {
				return m.Version[1:]
			}
		}
	}
	return "?"
}

// What is nil is not there; what went with the answer beside its members is not told.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, one := range v {
			if one == nil || k == "ResultMetadata" {
				delete(v, k)
			} else {
				v[k] = plain(one)
			}
		}
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	}
	return v
}

func call(client *sqs.Client, action string, input json.RawMessage) (any, error) {
	method := reflect.ValueOf(client).MethodByName(action)
	in := reflect.New(method.Type().In(1).Elem())
	if err := json.Unmarshal(input, in.Interface()); err != nil {
		return nil, err
	}
	out := method.Call([]reflect.Value{reflect.ValueOf(context.Background()), in})
	if err, _ := out[1].Interface().(error); err != nil {
		return nil, err
	}
	text, err := json.Marshal(out[0].Interface())
	if err != nil {
		return nil, err
	}
	var tree any
	json.Unmarshal(text, &tree)
	return plain(tree), nil
}

func answer(what any, err error) map[string]any {
	var api smithy.APIError
	var response *smithyhttp.ResponseError
	if err == nil {
		return map[string]any{"ok": what}
	}
	said := map[string]any{"error": err.Error(), "code": nil, "status": nil}
	if errors.As(err, &api) {
		said["code"], said["error"] = api.ErrorCode(), api.ErrorMessage()
	}
	if errors.As(err, &response) {
		said["status"] = response.HTTPStatusCode()
	}
	return said
}

func main() {
	var client *sqs.Client
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var c command
		var said map[string]any
		json.Unmarshal(line, &c)
		if c.Do == "hello" {
			client = connect(c.Address)
			said = answer("AWS SDK for Go v2 "+version(), nil)
		} else {
			said = answer(call(client, c.Action, c.Input))
		}
		text, _ := json.Marshal(said)
		fmt.Println(string(text))
	}
}
