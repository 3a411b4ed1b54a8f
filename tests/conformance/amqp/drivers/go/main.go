// main.go - the driver of amqp091-go; README.md, one folder up, is the protocol.
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
	"runtime/debug"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

type ask struct {
	Do, Address, Queue, Name, Type, Exchange, Key, Body, Expiration, Tag, How string
	Durable, Passive, Mandatory, Multiple                                   bool
	Requeue                                                                 *bool
	Arguments, Headers                                                      map[string]any
	Priority                                                                uint8
	Prefetch, Count                                                         int
	WaitMs                                                                  int `json:"wait_ms"`
	ID                                                                      uint64
}

type message struct {
	ID          uint64         `json:"id"`
	Body        string         `json:"body"`
	Redelivered bool           `json:"redelivered"`
	Exchange    string         `json:"exchange"`
	Key         string         `json:"key"`
	Headers     map[string]any `json:"headers"`
}

var (
	connection *amqp.Connection
	open       *amqp.Channel
	boxes      = map[string]<-chan amqp.Delivery{}
	cancels    chan string
	returns    chan amqp.Return
)

// table: JSON knows only one kind of number.
func table(from map[string]any) amqp.Table {
	to := amqp.Table{}
	for name, value := range from {
		if number, ok := value.(float64); ok {
			value = int64(number)
		}
		to[name] = value
	}
	return to
}

func channel() (*amqp.Channel, error) {
	if open != nil && !open.IsClosed() {
		return open, nil
	}
	it, err := connection.Channel()
	if err == nil {
		err = it.Confirm(false)
	}
	if err != nil {
		return nil, err
	}
	cancels = it.NotifyCancel(make(chan string, 10))
	returns = it.NotifyReturn(make(chan amqp.Return, 10))
	open = it
	return it, nil
}

func shown(d amqp.Delivery) message {
	headers := map[string]any{}
	for name, value := range d.Headers {
		switch value.(type) {
		case string, bool, int32, int64:
			headers[name] = value
		}
	}
	return message{d.DeliveryTag, string(d.Body), d.Redelivered, d.Exchange, d.RoutingKey, headers}
}

func publish(it *amqp.Channel, a *ask) (any, error) {
	confirm, err := it.PublishWithDeferredConfirm(a.Exchange, a.Key, a.Mandatory, false, amqp.Publishing{
		DeliveryMode: amqp.Persistent, Body: []byte(a.Body), Headers: table(a.Headers), Expiration: a.Expiration, Priority: a.Priority})
	if err != nil {
		return nil, err
	}
	limit, end := context.WithTimeout(context.Background(), 20*time.Second)
	defer end()
	acked, err := confirm.WaitContext(limit)
	if err != nil || !acked {
		return "nack", err
	}
	select {
	case <-returns:
		return "returned", nil
	default:
		return "ack", nil
	}
}

func take(a *ask) any {
	taken, end := []message{}, time.After(time.Duration(a.WaitMs)*time.Millisecond)
	for len(taken) < a.Count {
		select {
		case d, ok := <-boxes[a.Tag]:
			if !ok {
				return taken
			}
			taken = append(taken, shown(d))
		case <-end:
			return taken
		}
	}
	return taken
}

func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path == "github.com/rabbitmq/amqp091-go" {
			return module.Version
		}
	}
	return "?"
}

func do(a *ask) (any, error) {
	if a.Do == "hello" {
		var err error
		connection, err = amqp.Dial("amqp://guest:guest@" + a.Address + "/")
		return "amqp091-go " + version(), err
	}
	it, err := channel()
	if err != nil {
		return nil, err
	}
	switch a.Do {
	case "declare":
		declare := it.QueueDeclare
		if a.Passive {
			declare = it.QueueDeclarePassive
		}
		q, err := declare(a.Queue, a.Durable, false, false, false, table(a.Arguments))
		return map[string]any{"queue": q.Name, "messages": q.Messages, "consumers": q.Consumers}, err
	case "delete":
		_, err = it.QueueDelete(a.Queue, false, false, false)
	case "exchange":
		err = it.ExchangeDeclare(a.Name, a.Type, false, false, false, false, table(a.Arguments))
	case "bind":
		err = it.QueueBind(a.Queue, a.Key, a.Exchange, false, nil)
	case "publish":
		return publish(it, a)
	case "get":
		d, ok, err := it.Get(a.Queue, false)
		if err != nil || !ok {
			return nil, err
		}
		return shown(d), nil
	case "consume":
		if err = it.Qos(a.Prefetch, 0, false); err != nil {
			return nil, err
		}
		for len(cancels) > 0 {
			<-cancels
		}
		tag := fmt.Sprintf("consumer-%d", len(boxes))
		boxes[tag], err = it.Consume(a.Queue, tag, false, false, false, false, table(a.Arguments))
		return tag, err
	case "take":
		return take(a), nil
	case "settle":
		if a.How == "ack" {
			err = it.Ack(a.ID, a.Multiple)
		} else {
			err = it.Nack(a.ID, a.Multiple, a.Requeue == nil || *a.Requeue)
		}
	case "cancelled":
		select {
		case <-cancels:
			return true, nil
		case <-time.After(time.Duration(a.WaitMs) * time.Millisecond):
			return false, nil
		}
	}
	return nil, err
}

func main() {
	in, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	for in.Scan() {
		var a ask
		if err := json.Unmarshal(in.Bytes(), &a); err != nil {
			panic(err)
		}
		result, err := do(&a)
		var refused *amqp.Error
		switch {
		case errors.As(err, &refused):
			out.Encode(map[string]any{"error": refused.Reason, "code": refused.Code})
		case err != nil:
			out.Encode(map[string]any{"error": err.Error(), "code": nil})
		default:
			out.Encode(map[string]any{"ok": result})
		}
	}
}
