// Package protocol is the Go drivers' side of the protocol that README.md, two folders up, describes.
//
// Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
package protocol

import (
	"bufio"
	"encoding/json"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

type Record struct {
	Key       *string     `json:"key"`
	Value     *string     `json:"value"`
	Headers   [][2]string `json:"headers"`
	Timestamp *int64      `json:"timestamp"`
	Partition *int32      `json:"partition"`
	Offset    int64       `json:"offset"`
}

// Ask is a command with the arguments of all of them.
type Ask struct {
	Do          string            `json:"do"`
	Address     string            `json:"address"`
	ClientID    string            `json:"client_id"`
	Topic       string            `json:"topic"`
	Partitions  int               `json:"partitions"`
	Configs     map[string]string `json:"configs"`
	Name        string            `json:"name"`
	Value       string            `json:"value"`
	Partition   int32             `json:"partition"`
	Before      int64             `json:"before"`
	Group       string            `json:"group"`
	At          any               `json:"at"`
	Records     []Record          `json:"records"`
	Codec       string            `json:"codec"`
	Acks        *int              `json:"acks"`
	Idempotent  bool              `json:"idempotent"`
	Transaction string            `json:"transaction"`
	Offset      int64             `json:"offset"`
	Count       int               `json:"count"`
	WaitMs      int               `json:"wait_ms"`
	Committed   bool              `json:"committed"`
	Member      string            `json:"member"`
	Strategy    string            `json:"strategy"`
	SessionMs   int               `json:"session_ms"`
	ID          string            `json:"id"`
	TimeoutMs   int               `json:"timeout_ms"`
	Commit      bool              `json:"commit"`
}

func (a *Ask) Wait() time.Duration    { return time.Duration(a.WaitMs) * time.Millisecond }
func (a *Ask) Session() time.Duration { return time.Duration(a.SessionMs) * time.Millisecond }
func (a *Ask) Timeout() time.Duration { return time.Duration(a.TimeoutMs) * time.Millisecond }

// Placed says whether the caller chose the partitions of the records.
func (a *Ask) Placed() bool { return len(a.Records) > 0 && a.Records[0].Partition != nil }

// Cannot is the error of a library that has no way to say something.
type Cannot string

func (c Cannot) Error() string { return string(c) }

func Bytes(s *string) []byte {
	if s == nil {
		return nil
	}
	return append([]byte{}, *s...)
}

func Text(b []byte) *string {
	if b == nil {
		return nil
	}
	s := string(b)
	return &s
}

// Box holds what a member has read until somebody takes it.
type Box struct {
	mutex    sync.Mutex
	records  []Record
	assigned map[int32]bool
	taken    map[int32]int64
}

func NewBox() *Box { return &Box{assigned: map[int32]bool{}, taken: map[int32]int64{}} }

func (b *Box) Put(r Record) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.records = append(b.records, r)
}

func (b *Box) Assign(partitions []int32, has bool) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	for _, p := range partitions {
		if has {
			b.assigned[p] = true
		} else {
			delete(b.assigned, p)
		}
	}
}

func (b *Box) Assigned() []int32 {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	all := []int32{}
	for p := int32(0); len(all) < len(b.assigned); p++ {
		if b.assigned[p] {
			all = append(all, p)
		}
	}
	return all
}

func (b *Box) Take(count int, wait time.Duration) []Record {
	end := time.Now().Add(wait)
	for {
		b.mutex.Lock()
		if len(b.records) >= count || time.Now().After(end) {
			break
		}
		b.mutex.Unlock()
		time.Sleep(10 * time.Millisecond)
	}
	defer b.mutex.Unlock()
	n := min(count, len(b.records))
	taken := append([]Record{}, b.records[:n]...)
	b.records = b.records[n:]
	for _, r := range taken {
		b.taken[*r.Partition] = r.Offset + 1
	}
	return taken
}

// Taken is what to commit: the offset behind the last record taken of each partition.
func (b *Box) Taken() map[int32]int64 {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	copied := map[int32]int64{}
	for p, offset := range b.taken {
		copied[p] = offset
	}
	return copied
}

type Command func(a *Ask) (any, error)

// Serve answers commands until standard input ends.  codeOf finds Kafka's number in an error, or returns nil.
func Serve(commands map[string]Command, codeOf func(error) *int) {
	in, out := bufio.NewReaderSize(os.Stdin, 1<<20), json.NewEncoder(os.Stdout)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		a := &Ask{Partitions: 1, WaitMs: 10000, SessionMs: 6000, TimeoutMs: 60000, Strategy: "range"}
		if err := json.Unmarshal(line, a); err != nil {
			panic(err)
		}
		out.Encode(answer(commands[a.Do], a, codeOf))
	}
}

func answer(command Command, a *Ask, codeOf func(error) *int) map[string]any {
	if command == nil {
		return map[string]any{"cannot": "the library has no such call"}
	}
	result, err := command(a)
	if cannot, is := err.(Cannot); is {
		return map[string]any{"cannot": string(cannot)}
	}
	if err != nil {
		return map[string]any{"error": err.Error(), "code": codeOf(err)}
	}
	return map[string]any{"ok": result}
}

// Version of a module that was built in.
func Version(path string) string {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path == path {
			return strings.TrimPrefix(module.Version, "v")
		}
	}
	return "?"
}
